#!/usr/bin/env python3
"""Moves messages from a real RabbitMQ to Leveret with `leveret migrate`, killed half way and run again.

    interop/migrate_from_rabbitmq.py [MESSAGES]        100000 if not given

Needs a RabbitMQ with the management plugin that nobody else uses: LEVERET_RABBITMQ is its management
URL with an administrator's login. Without it one is looked for at http://guest:guest@127.0.0.1:15672,
and if there is none the script is skipped, with a word about it. The queues `migrate.*` there are
deleted, declared and filled. Needs Python 3 with pika; Leveret is built with cargo, unless
LEVERET_BIN names a binary.

Ends with 0 if all messages came over (or if it was skipped), 1 if not.
"""

import collections
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request

from broker import broker

try:
    import pika
except ImportError:
    print("skipped: pika is not installed")
    sys.exit(0)

GIVEN = os.environ.get("LEVERET_RABBITMQ")
SOURCE = urllib.parse.urlsplit(GIVEN or "http://guest:guest@127.0.0.1:15672")
PLACE = f"{SOURCE.hostname}:{SOURCE.port}"
# What is on its way may be there twice after a kill.
WINDOW = 4000

QUEUES = {
    "migrate.classic": {},
    "migrate.priority": {"x-max-priority": 5},
    "migrate.quorum": {"x-queue-type": "quorum"},
    "migrate.auto": {},
    "migrate.stream": {"x-queue-type": "stream"},
    "migrate.copies": {},
    "migrate.dead": {},
    "migrate.dying": {
        "x-message-ttl": 1,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "migrate.dead",
    },
}


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    try:
        overview = ask("/api/overview")
    except OSError as error:
        print(f"{'FAILED' if GIVEN else 'skipped'}: no RabbitMQ at {PLACE}: {error}")
        sys.exit(1 if GIVEN else 0)
    port = next(one["port"] for one in overview["listeners"] if one["protocol"] == "amqp")
    with connected(SOURCE.hostname, port) as source, broker() as target:
        expected = fill(source.channel(), count)
        waiting = sum(map(len, expected.values()))
        print(f"RabbitMQ {overview['rabbitmq_version']} with {waiting} messages")
        migrate_all(source.channel(), target.tool[-1], target.tool[0], waiting)
        host, _, port = target.address.rpartition(":")
        with connected(host, int(port)) as connection:
            compare(connection.channel(), expected)
    print("passed")


def migrate_all(source, data, binary, waiting):
    command = [binary, "migrate", "--from", f"http://{SOURCE.username}@{PLACE}", "--data-dir", data]
    environment = {**os.environ, "LEVERET_MIGRATE_PASSWORD": SOURCE.password}

    def migrate(*more):
        return subprocess.run([*command, *more], env=environment, stdout=subprocess.PIPE, text=True)

    dry = migrate("--dry-run")
    assert dry.returncode == 0 and f"{waiting} messages would be moved" in dry.stdout, dry
    assert sum(depths(source).values()) == waiting, depths(source)

    # Twice something ends it, and the next run goes on with what is there.
    for ended_by, part in ((signal.SIGKILL, 0.7), (signal.SIGINT, 0.5)):
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            while sum(depths(source).values()) > waiting * part:
                assert process.poll() is None, "it had ended before"
            process.send_signal(ended_by)
            process.communicate()
        print(f"{ended_by.name}: {process.returncode}, {sum(depths(source).values())} stay so far")
    assert process.returncode == 1, "interrupted in order, it says that there is more to do"

    last = migrate()
    print(last.stdout)
    assert last.returncode == 0, last.returncode
    left = {name: depth for name, depth in depths(source).items() if depth}
    assert list(left) == ["migrate.stream"], left


def fill(channel, count):
    """Fills the queues; gives for each what is in it, as `seen` tells it."""
    for name, arguments in QUEUES.items():
        channel.queue_delete(name)
        auto_delete = name == "migrate.auto"
        channel.queue_declare(name, durable=True, auto_delete=auto_delete, arguments=arguments)
    channel.exchange_declare("migrate.x", "topic", durable=True)
    channel.queue_bind("migrate.classic", "migrate.x", "classic.#")
    channel.queue_bind("migrate.copies", "migrate.x", "copy")
    expected = {name: [] for name in QUEUES}

    def publish(queue, exchange, key, body, **properties):
        properties = pika.BasicProperties(delivery_mode=2, **properties)
        channel.basic_publish(exchange, key, body, properties)
        if queue is not None:
            expected[queue].append(seen(exchange, key, properties, body))

    for number in range(count // 4):
        body = b"%d " % number * (number % 100)
        headers = {"number": number, "flag": True, "nested": {"list": [1, "two", None, 1 << 40]}}
        if number % 50 == 0:
            headers["CC"] = ["copy"]
            properties = pika.BasicProperties(delivery_mode=2, headers=headers)
            expected["migrate.copies"].append(seen("migrate.x", f"classic.{number}", properties, body))
        publish("migrate.classic", "migrate.x", f"classic.{number}", body, headers=headers)
        publish("migrate.priority", "", "migrate.priority", body, priority=number % 7)
        publish(
            "migrate.quorum",
            "",
            "migrate.quorum",
            body,
            user_id=SOURCE.username,
            message_id=str(number),
            content_type="text/plain",
            timestamp=number,
        )
        publish("migrate.stream", "", "migrate.stream", body, headers={"number": number})
        if number % 10 == 0:
            publish("migrate.auto", "", "migrate.auto", body, expiration="3600000", type="t")
            publish(None, "", "migrate.dying", body, app_id="dying")
    # A message that doesn't fit into a frame.
    publish("migrate.classic", "migrate.x", "classic.large", os.urandom(3_000_000))

    dead = range(0, count // 4, 10)
    wait(lambda: depths(channel)["migrate.dead"] == len(dead))
    got = [channel.basic_get("migrate.dead") for _ in dead]
    expected["migrate.dead"] = [seen(one.exchange, one.routing_key, *rest) for one, *rest in got]
    channel.basic_nack(got[-1][0].delivery_tag, multiple=True, requeue=True)
    wait(lambda: depths(channel) == {name: len(all) for name, all in expected.items()})
    return expected


def compare(channel, expected):
    """Has the queues hold what they should, in order, but for what a kill doubled."""
    doubled = 0
    for name, all in expected.items():
        arguments = {"x-stream-offset": "first"} if name == "migrate.stream" else {}
        channel.basic_qos(prefetch_count=500)
        got = []
        for method, properties, body in channel.consume(
            name, arguments=arguments, inactivity_timeout=3
        ):
            if method is None:
                break
            channel.basic_ack(method.delivery_tag)
            offset = (properties.headers or {}).get("x-stream-offset", len(got))
            assert offset == len(got), f"{name}: offset {offset} at {len(got)}"
            got.append(seen(method.exchange, method.routing_key, properties, body))
        channel.cancel()
        more = collections.Counter(got) - collections.Counter(all)
        less = collections.Counter(all) - collections.Counter(got)
        assert not less, f"{name}: {sum(less.values())} are missing, such as {next(iter(less))}"
        unknown = [one for one in more if one not in set(all)]
        assert not unknown, f"{name}: {unknown[0]} was not there"
        assert sum(more.values()) <= WINDOW, f"{name}: {sum(more.values())} are there twice"
        if name != "migrate.priority" and not more:
            assert got == all, f"{name}: the order is another"
        doubled += sum(more.values())
    print(f"all there; {doubled} twice")


# What the broker adds when it delivers.
ADDED = ("x-delivery-count", "x-stream-offset")


def seen(exchange, key, properties, body):
    """All that a consumer sees of a message, short."""
    told = {name: value for name, value in vars(properties).items() if value is not None}
    headers = told.pop("headers", {})
    told["headers"] = {name: value for name, value in headers.items() if name not in ADDED}
    digest = hashlib.sha1(json.dumps(told, sort_keys=True, default=str).encode())
    digest.update(body)
    return exchange, key, len(body), digest.hexdigest()


def depths(channel):
    return {
        name: channel.queue_declare(name, passive=True).method.message_count for name in QUEUES
    }


def wait(until):
    for _ in range(600):
        if until():
            return
        time.sleep(0.1)
    raise TimeoutError


def connected(host, port):
    credentials = pika.PlainCredentials(SOURCE.username, SOURCE.password)
    parameters = pika.ConnectionParameters(host, port, credentials=credentials, heartbeat=0)
    return contextlib.closing(pika.BlockingConnection(parameters))


def ask(path):
    login = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    login.add_password(None, f"http://{PLACE}", SOURCE.username, SOURCE.password)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(login))
    with opener.open(f"http://{PLACE}{path}", timeout=10) as reply:
        return json.load(reply)


if __name__ == "__main__":
    main()
