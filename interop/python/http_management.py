"""Published clients of the HTTP API: pyrabbit2, Flower beside Celery, and RabbitMQ's old rabbitmqadmin.

The last is not to be had from a registry: its check is skipped unless the script that RabbitMQ has up to
4.2 is on the path.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pyrabbit2

from checks import Skipped, run, unique
from tasks import add
from workers import TIMEOUT, Worker, until

MANAGEMENT = os.environ.get("MANAGEMENT_ADDRESS")


def address():
    if not MANAGEMENT:
        raise Skipped("where the HTTP API is, is not known")
    return MANAGEMENT


def check_pyrabbit():
    client = pyrabbit2.Client(address(), "guest", "guest")
    vhost, user, queue, exchange = (unique(what) for what in ("vhost", "user", "queue", "exchange"))
    assert client.is_alive()
    assert client.get_overview()["rabbitmq_version"].startswith("4.")
    assert client.get_whoami()["name"] == "guest"
    client.create_vhost(vhost)
    client.create_user(user, "secret", tags="monitoring")
    client.set_vhost_permissions(vhost, user, ".*", ".*", ".*")
    client.set_vhost_permissions(vhost, "guest", ".*", ".*", ".*")
    assert vhost in client.get_vhost_names()
    assert {"name": user, "tags": ["monitoring"]}.items() <= next(
        one for one in client.get_users() if one["name"] == user
    ).items()
    assert {"read": ".*"}.items() <= client.get_user_permissions(user)[0].items()
    client.create_queue(vhost, queue, durable=True, arguments={"x-max-length": 9})
    client.create_exchange(vhost, exchange, "topic")
    client.create_binding(vhost, exchange, queue, "a.b")
    assert exchange in [one["source"] for one in client.get_queue_bindings(vhost, queue)]
    assert client.publish(vhost, exchange, "a.b", "hello") is True
    assert client.publish(vhost, exchange, "b", "lost") is False
    assert client.get_queue_depth(vhost, queue) == 1
    assert client.get_messages(vhost, queue, count=1)[0]["payload"] == "hello"
    client.purge_queue(vhost, queue)
    client.delete_binding(vhost, exchange, queue, "a.b")
    client.create_policy(vhost, "p", **{"pattern": ".*", "definition": {"max-length": 5}})
    assert client.get_all_policies()[-1]["vhost"] == vhost
    client.delete_policy(vhost, "p")
    client.delete_exchange(vhost, exchange)
    client.delete_queue(vhost, queue)
    assert client.get_nodes() and client.get_connections() is not None
    client.delete_user(user)
    client.delete_vhost(vhost)


def check_rabbitmqadmin():
    tool = shutil.which("rabbitmqadmin")
    if not tool or b"python" not in Path(tool).read_bytes()[:64]:
        raise Skipped("RabbitMQ's rabbitmqadmin is not here")
    host, _, port = address().rpartition(":")

    def admin(*words):
        command = [sys.executable, tool, "-H", host, "-P", port, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    queue, exchange = unique("queue"), unique("exchange")
    assert "rabbitmq_version" in admin("show", "overview")
    limit = 'arguments={"x-max-length":5}'
    assert admin("declare", "queue", f"name={queue}", "durable=true", limit) == "queue declared\n"
    assert admin("declare", "exchange", f"name={exchange}", "type=topic") == "exchange declared\n"
    ends = [f"source={exchange}", f"destination={queue}"]
    assert admin("declare", "binding", *ends, "routing_key=a.#") == "binding declared\n"
    to = ["publish", f"exchange={exchange}", "payload=hi"]
    assert admin(*to, "routing_key=a.b") == "Message published\n"
    assert admin(*to, "routing_key=b") == "Message published but NOT routed\n"
    assert f"{queue}\t1\n" in admin("-f", "tsv", "list", "queues", "name", "messages")
    assert "hi" in admin("get", f"queue={queue}", "ackmode=ack_requeue_false")
    policy = ["pattern=nothing", 'definition={"max-length":3}', "apply-to=queues"]
    assert admin("declare", "policy", "name=p", *policy) == "policy declared\n"
    for listed in ("connections", "channels", "consumers", "users", "vhosts", "permissions", "nodes"):
        admin("list", listed)
    file = Path(os.environ.get("TMPDIR", "/tmp"), unique("definitions"))
    assert admin("export", str(file)).startswith("Exported definitions")
    assert admin("import", str(file)).startswith("Uploaded definitions")
    file.unlink()
    assert admin("purge", "queue", f"name={queue}") == "queue purged\n"
    assert admin("delete", "policy", "name=p") == "policy deleted\n"
    assert admin("delete", "exchange", f"name={exchange}") == "exchange deleted\n"
    assert admin("delete", "queue", f"name={queue}") == "queue deleted\n"


@contextmanager
def flower():
    """Its address, from its start until it has gone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "celery", "--app", "tasks", "flower", "--address=127.0.0.1"]
    command += [f"--port={port}", f"--broker_api=http://guest:guest@{address()}/api/"]
    with subprocess.Popen(
        command,
        cwd=Path(__file__).parent,
        env={**os.environ, "FLOWER_UNAUTHENTICATED_API": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            printed = process.stdout.read()
    assert "Unable to get" not in printed and "Traceback" not in printed, printed


def check_flower():
    address()
    with Worker("flower"), flower() as url:

        def ask(path):
            with urllib.request.urlopen(url + path, timeout=TIMEOUT) as answer:
                return answer.read().decode()

        def is_seen():
            try:
                return "flower@interop" in json.loads(ask("/api/workers?refresh=true"))
            except OSError:
                return False

        until(is_seen)
        assert add.delay(2, 3).get(timeout=TIMEOUT) == 5
        # Both come from the HTTP API of the broker.
        lengths = json.loads(ask("/api/queues/length"))["active_queues"]
        assert [one["name"] for one in lengths] == ["celery"], lengths
        # Other programs may have left some that are to be done later.
        assert lengths[0]["messages"] >= 0
        assert "celery" in ask("/broker")


if __name__ == "__main__":
    run(sys.modules[__name__])
