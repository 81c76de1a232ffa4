"""RabbitMQ's new `rabbitmqadmin`, 2.x, which takes only answers that have the fields and types it expects.

It is not built for this (`cargo install rabbitmqadmin` takes minutes): LEVERET_RABBITMQADMIN names it, else
one on the path is taken, and without either all is skipped.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pika

from checks import URL, Skipped, run, unique

MANAGEMENT = os.environ.get("MANAGEMENT_ADDRESS")
FAILED, NO_LISTENER = 65, 69


def tool():
    named = os.environ.get("LEVERET_RABBITMQADMIN") or shutil.which("rabbitmqadmin")
    if not MANAGEMENT:
        raise Skipped("the broker's HTTP API is not known")
    if not named:
        raise Skipped("rabbitmqadmin 2 is not here")
    version = subprocess.run([named, "--version"], capture_output=True, text=True)
    if not version.stdout.startswith("rabbitmqadmin 2."):
        raise Skipped("the rabbitmqadmin that is here is not 2.x")
    return named


def admin(*words, expected=0):
    """What a command prints, once it ended as expected."""
    host, _, port = MANAGEMENT.rpartition(":")
    command = [tool(), "-H", host, "-P", port, "-u", "guest", "-p", "guest", "--non-interactive"]
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [*command, *words], capture_output=True, text=True, env={**os.environ, "HOME": home}
        )
    output = done.stdout + done.stderr
    assert done.returncode == expected, f"{words}: {done.returncode} {output}"
    return output


def fails(*words, saying="404 Not Found", status=FAILED):
    output = admin(*words, expected=status)
    assert saying in output, output


def node():
    return admin("nodes", "list").split()[0]


def check_what_there_is():
    assert "Product name" in admin("show", "overview")
    for words in (
        "show churn", "show endpoint", "nodes list", "list nodes", "plugins list_all", "feature_flags list",
        "feature_flags enable_all", "feature_flags enable --name stream_queue", "deprecated_features list",
        "deprecated_features list_used", "list deprecated_features", "list deprecated_features_in_use",
        "rebalance queues", "queues rebalance", "passwords salt_and_hash secret", "federation list_all_upstreams",
        "list parameters", "parameters list_all", "connections close_of_user --username nobody",
    ):
        admin(*words.split())
    for words in (
        "show memory_breakdown_in_bytes", "show memory_breakdown_in_percent", "nodes memory_breakdown_in_bytes",
        "nodes memory_breakdown_in_percent", "plugins list_on_node", "auth_attempts stats",
    ):
        admin(*words.split(), "--node", node())


def check_health():
    port = URL.rpartition(":")[2].partition("/")[0]
    for words in (
        "local_alarms", "cluster_wide_alarms", "node_is_quorum_critical", "protocol_listener --protocol amqp",
        f"port_listener --port {port}",
    ):
        admin("health_check", *words.split())
    no_listener = {"saying": "No active listener", "status": NO_LISTENER}
    fails("health_check", "port_listener", "--port", "1", **no_listener)
    fails("health_check", "protocol_listener", "--protocol", "mqtt", **no_listener)


def check_vhosts_users_and_limits():
    vhost, user = unique("vhost"), unique("user")
    admin("declare", "vhost", "--name", vhost, "--description", "d", "--default-queue-type", "quorum")
    assert f"{vhost} d quorum" in " ".join(admin("vhosts", "list").split())
    admin("vhosts", "enable_deletion_protection", "--name", vhost)
    fails("vhosts", "delete", "--name", vhost, saying="protected from deletion")
    admin("vhosts", "disable_deletion_protection", "--name", vhost)

    admin("declare", "user", "--name", user, "--password", "p", "--tags", "management")
    assert user in admin("list", "users")
    everything = ["--configure", ".*", "--read", ".*", "--write", ".*"]
    admin("-V", vhost, "declare", "permissions", "--username", user, *everything)
    assert user in admin("permissions", "list")
    of_user = ["--username", user, "--name", "max-channels"]
    admin("declare", "user_limit", *of_user, "--value", "10")
    assert "max-channels" in admin("user_limits", "list", "--username", user)
    assert "max-channels" in admin("users", "limits", "--username", user)
    admin("user_limits", "delete", *of_user)
    admin("-V", vhost, "vhost_limits", "declare", "--name", "max-queues", "--value", "5")
    assert "max-queues" in admin("-V", vhost, "list", "vhost_limits")
    admin("-V", vhost, "delete", "vhost_limit", "--name", "max-queues")

    admin("-V", vhost, "permissions", "delete", "--username", user)
    fails("-V", vhost, "permissions", "delete", "--username", user)
    admin("-V", vhost, "permissions", "delete", "--username", user, "--idempotently")
    admin("users", "delete", "--name", user)
    fails("users", "delete", "--name", user)
    admin("vhosts", "delete", "--name", vhost)
    admin("vhosts", "delete", "--name", vhost, "--idempotently")


def check_queues_exchanges_bindings_and_messages():
    queue, stream, exchange = unique("queue"), unique("stream"), unique("exchange")
    arguments = '{"x-max-length": 10}'
    admin("declare", "queue", "--name", queue, "--type", "classic", "--arguments", arguments)
    other = ["--type", "quorum", "--arguments", arguments]
    fails("queues", "declare", "--name", queue, *other, saying="received 'quorum' but current is 'classic'")
    admin("streams", "declare", "--name", stream, "--expiration", "7D", "--max-length-bytes", "1000000")
    for listed in (["queues", "list"], ["list", "queues", "--page", "1", "--page-size", "500"]):
        assert queue in admin(*listed)
    assert "x-max-length: 10" in admin("queues", "show", "--name", queue)
    assert 'x-max-age: "7D"' in admin("streams", "show", "--name", stream)
    fails("queues", "show", "--name", unique("nothing"))

    admin("declare", "exchange", "--name", exchange, "--type", "topic")
    assert exchange in admin("exchanges", "list")
    ends = ["--source", exchange, "--destination-type", "queue", "--destination", queue]
    admin("declare", "binding", *ends, "--routing-key", "k.*")
    admin("exchanges", "bind", *ends, "--routing-key", "z", "--arguments", '{"a": 1}')
    assert exchange in admin("bindings", "list")
    admin("bindings", "delete", *ends, "--routing-key", "z", "--arguments", '{"a": 1}')
    fails("bindings", "delete", *ends, "--routing-key", "z", "--arguments", '{"a": 1}')

    properties = json.dumps({"delivery_mode": 2, "headers": {"a": 1}})
    admin("publish", "message", "-e", exchange, "-k", "k.a", "-m", "hello", "-p", properties)
    admin("publish", "message", "-e", exchange, "-k", "nowhere", "-m", "lost")
    assert "hello" in admin("get", "messages", "-q", queue, "-a", "ack_requeue_true")
    assert "hello" in admin("get", "messages", "-q", queue, "-c", "5", "-a", "ack_requeue_false")
    assert "hello" not in admin("get", "messages", "-q", queue)
    admin("queues", "purge", "--name", queue)

    admin("exchanges", "unbind", *ends, "--routing-key", "k.*")
    admin("exchanges", "delete", "--name", exchange)
    admin("queues", "delete_multiple", "--name-pattern", f"^{queue}", "--dry-run")
    assert queue in admin("list", "queues")
    admin("queues", "delete_multiple", "--name-pattern", f"^{queue}", "--approve")
    fails("delete", "queue", "--name", queue)
    admin("delete", "queue", "--name", queue, "--idempotently")
    admin("delete", "stream", "--name", stream)


def check_policies():
    for group in ("policies", "operator_policies"):
        name, pattern = unique("policy"), unique("pattern")
        definition = '{"max-length": 100, "message-ttl": 100000}'
        what = ["--name", name, "--pattern", f"^{pattern}", "--apply-to", "queues", "--priority", "3"]
        admin(group, "declare", *what, "--definition", definition)
        assert name in admin(group, "list")
        assert name in admin(group, "list_in")
        assert name in admin(group, "list_matching_object", "--name", pattern, "--type", "queues")
        admin(group, "patch", "--name", name, "--definition", '{"max-length": 77}')
        key = ["--definition-key", "max-length", "--new-value", "78"]
        admin(group, "update_definition", "--name", name, *key)
        admin(group, "update_definitions_of_all_in", *key)
        assert "78" in admin(group, "list")
        admin(group, "delete_definition_keys", "--name", name, "--definition-keys", "message-ttl")
        admin(group, "delete_definition_keys_from_all_in", "--definition-keys", "message-ttl")
        assert "100000" not in admin(group, "list")
        admin(group, "delete", "--name", name)
    name = unique("policy")
    admin("policies", "declare_blanket", "--name", name, "--apply-to", "queues", "--definition", '{"max-length": 9}')
    admin("policies", "declare_override", "--name", name, "--override-name", f"{name}.o", "--definition", '{"max-length": 5}')
    admin("policies", "update_definitions_of_all", "--definition-key", "max-length", "--new-value", "8")
    admin("policies", "list_conflicting")
    admin("policies", "list_conflicting_in")
    for own in (f"{name}.o", name):
        admin("policies", "delete", "--name", own)
    fails("policies", "delete", "--name", name)


def check_parameters():
    name = unique("global")
    admin("global_parameters", "set", "--name", name, "--value", '{"a": 1}')
    assert name in admin("global_parameters", "list")
    admin("global_parameters", "clear", "--name", name)


def check_connections():
    queue, tag = unique("queue"), unique("consumer")
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    channel.queue_declare(queue, exclusive=True)
    channel.basic_consume(queue, lambda *_: None, consumer_tag=tag)
    host, port = connection._impl._transport._sock.getsockname()[:2]
    name = f"{host}:{port} -> "
    for listed in ("connections list", "list connections", "connections list_of_user --username guest"):
        assert name in admin(*listed.split())
    assert name in admin("channels", "list")
    assert tag in admin("list", "consumers")
    assert "1" in admin("queues", "show", "--name", queue)
    full = name + URL.rpartition("@")[2].partition("/")[0]
    admin("close", "connection", "--name", full)
    try:
        connection.process_data_events(time_limit=10)
        raise AssertionError("the connection is open")
    except pika.exceptions.ConnectionClosedByBroker as closed:
        assert closed.reply_code == 320, closed


def check_definitions():
    admin("definitions", "export", "--stdout")
    with tempfile.TemporaryDirectory() as directory:
        for words in (["definitions", "export"], ["definitions", "export_from_vhost"], ["export", "definitions"]):
            file = str(Path(directory, unique("definitions")))
            admin(*words, "--file", file)
            assert json.loads(Path(file).read_text())["queues"] is not None
            importing = "import_into_vhost" if "export_from_vhost" in words else "import"
            admin("definitions", importing, "--file", file)


def check_what_is_not_there_says_so():
    """Shovels and federation are plugins of RabbitMQ's: without them their lists are not found there either."""
    uris = ["--source-uri", "amqp://127.0.0.1:1", "--destination-uri", "amqp://127.0.0.1:1"]
    ends = ["--source-queue", "a", "--destination-queue", "b"]
    fails("shovels", "declare_amqp091", "--name", "s", *uris, *ends, saying="component shovel not found")
    fails("shovels", "list_all")
    upstream = ["--name", "u", "--uri", "amqp://127.0.0.1:1"]
    fails("federation", "declare_upstream", *upstream, saying="component federation-upstream not found")
    fails("federation", "list_all_links")


if __name__ == "__main__":
    run(sys.modules["__main__"])
