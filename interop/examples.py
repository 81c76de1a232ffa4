"""The examples of the tutorials' patterns, in every language and every combination of two."""

from broker import ROOT

# The half that waits, the half that sends, and what the two of them print besides the obvious.
PATTERNS = {
    "hello": (("receive", "--count", "1"), ("send", "hello"), ["received", "hello"]),
    "task_queue": (
        ("worker", "--count", "2", "--speed", "100"),
        ("new_task", "one..", "two."),
        ["working on", "one..", "two.", "done"],
    ),
    "publish_subscribe": (("receive_logs", "--count", "1"), ("emit_log", "news"), ["news"]),
    "routing": (
        ("receive_logs_direct", "--count", "1", "error", "warning"),
        ("emit_log_direct", "warning", "hot"),
        ["received warning", "hot"],
    ),
    "topics": (
        ("receive_logs_topic", "--count", "1", "kern.*", "#.critical"),
        ("emit_log_topic", "app.db.critical", "disk"),
        ["received app.db.critical", "disk"],
    ),
    "rpc": (
        ("rpc_server", "--count", "2"),
        ("rpc_client", "10", "90"),
        ["fib(10) = 55", "fib(90) = 2880067194370816120"],
    ),
}


# How the program of a name is run, given what `toolchains` has for the language.
COMMANDS = {
    "python": lambda interpreter, name: [interpreter, ROOT / "examples" / "python" / f"{name}.py"],
    "rust": lambda directory, name: [directory / name],
}


def programs():
    """Names, languages, and functions from these to what waits, what sends and what is printed."""
    for language in COMMANDS:
        yield f"{language}/publisher_confirms", [language], confirming(language)
    for pattern in PATTERNS:
        for far in COMMANDS:
            for near in COMMANDS:
                yield f"{pattern}: {near} to {far}", [far, near], talking(pattern, far, near)


def confirming(language):
    command = COMMANDS[language]
    return lambda tool: (
        None,
        [*command(tool, "publisher_confirms"), "--count", "500"],
        [],
    )


def talking(pattern, far, near):
    (waiting, *waiting_arguments), (sending, *sending_arguments), expected = PATTERNS[pattern]
    return lambda far_tool, near_tool: (
        [*COMMANDS[far](far_tool, waiting), *waiting_arguments],
        [*COMMANDS[near](near_tool, sending), *sending_arguments],
        expected,
    )
