"""Celery with its defaults: a worker on classic queues, results over rpc, remote control, events."""

import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

from celery import chain, chord, group
from celery.exceptions import TaskRevokedError
from kombu import Queue

from checks import restart_broker, run, unique
from tasks import add, app, die_once, fail, flaky, note, now, outlive, total
from workers import TIMEOUT, Worker, until

WORKER = Worker("classic")


def check_results():
    assert add.delay(2, 3).get(timeout=TIMEOUT) == 5
    results = [add.delay(n, n) for n in range(50)]
    assert [result.get(timeout=TIMEOUT) for result in results] == [2 * n for n in range(50)]


def check_failures():
    try:
        fail.delay().get(timeout=TIMEOUT)
    except ValueError as error:
        assert str(error) == "on purpose", error
    else:
        raise AssertionError("no failure")


def check_groups_and_chains():
    assert group(add.s(n, 1) for n in range(10))().get(timeout=TIMEOUT) == list(range(1, 11))
    assert chain(add.s(1, 2), add.s(3), add.s(4))().get(timeout=TIMEOUT) == 10
    with tempfile.NamedTemporaryFile() as file:
        add.apply_async((1, 1), link=note.si(file.name, "linked"))
        until(lambda: Path(file.name).read_text() == "linked\n")


def check_chords_are_refused_over_rpc():
    """By Celery itself, whatever the broker; `celery_chords` has them with another backend."""
    try:
        chord(group(add.s(n, n) for n in range(5)), total.s())()
    except NotImplementedError as error:
        assert 'The "rpc" result backend does not support chords!' in str(error), error
    else:
        raise AssertionError("Celery took a chord over rpc")


def check_retries():
    assert flaky.delay().get(timeout=TIMEOUT) == 3
    assert flaky.delay(countdown=0.1).get(timeout=TIMEOUT) == 3


def check_countdown_and_eta():
    started = time.time()
    eta = datetime.now(timezone.utc) + timedelta(seconds=0.5)
    later = [now.apply_async(eta=eta), now.apply_async(countdown=1)]
    # What is due at once does not wait behind them.
    assert now.delay().get(timeout=TIMEOUT) < started + 0.5
    by_eta, by_countdown = [result.get(timeout=TIMEOUT) for result in later]
    assert started + 0.5 <= by_eta < by_countdown >= started + 1, (started, by_eta, by_countdown)


def check_expired_tasks_are_revoked():
    result = now.apply_async(countdown=0.3, expires=0.1)
    try:
        result.get(timeout=TIMEOUT)
    except TaskRevokedError:
        pass
    else:
        raise AssertionError("an expired task ran")


def check_priorities():
    name = unique("priorities")
    # It goes by itself; deleting it could meet the worker that is about to cancel its consumer.
    options = {"queue_arguments": {"x-max-priority": 10, "x-expires": 60_000}}
    queue = Queue(name, max_priority=10, expires=60)
    with tempfile.NamedTemporaryFile() as file:
        for priority in (0, 5, 9, 5, 0, 9):
            note.apply_async((file.name, priority), queue=queue, priority=priority)
        app.control.add_consumer(
            name, exchange=name, routing_key=name, options=options, destination=[WORKER.name],
            reply=True,
        )
        until(lambda: Path(file.name).read_text().split() == ["9", "9", "5", "5", "0", "0"])
    (answer,) = app.control.cancel_consumer(name, destination=[WORKER.name], reply=True)
    assert answer == {WORKER.name: {"ok": f"no longer consuming from {name}"}}, answer


def check_inspect():
    inspect = app.control.inspect([WORKER.name])
    assert inspect.ping() == {WORKER.name: {"ok": "pong"}}
    assert "tasks.add" in inspect.registered()[WORKER.name]
    (queue,) = inspect.active_queues()[WORKER.name]
    assert queue["name"] == "celery" and queue["exchange"]["type"] == "direct", queue
    stats = inspect.stats()[WORKER.name]
    assert stats["broker"]["transport"] == "amqp" and stats["total"]["tasks.add"] > 0, stats
    result = now.apply_async(countdown=60)
    until(lambda: [t["request"]["id"] for t in inspect.scheduled()[WORKER.name]] == [result.id])
    app.control.revoke(result.id, destination=[WORKER.name], reply=True)
    assert result.id in inspect.revoked()[WORKER.name]


def check_control():
    (answer,) = app.control.rate_limit("tasks.add", "100/s", destination=[WORKER.name], reply=True)
    assert answer == {WORKER.name: {"ok": "new rate limit set successfully"}}, answer
    app.control.rate_limit("tasks.add", None, reply=True)
    with running_outlive() as (_directory, result):
        assert app.control.inspect().active()[WORKER.name][0]["id"] == result.id
        # To all workers, without an answer.
        app.control.revoke(result.id, terminate=True)
        try:
            result.get(timeout=TIMEOUT)
        except TaskRevokedError:
            pass
        else:
            raise AssertionError("a terminated task gave a result")


@contextmanager
def running_outlive():
    """The task that ends when told to, running."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        result = outlive.delay(name)
        until((directory / "started-0").exists)
        try:
            yield directory, result
        finally:
            (directory / "go").touch()


def check_purge():
    name = unique("purged")
    with app.connection() as connection:
        queue = Queue(name)
        for number in range(3):
            add.apply_async((number, 0), queue=queue)
        assert queue(connection.channel()).purge() == 3
        queue(connection.channel()).delete()


def check_events():
    seen = []

    def on_event(event):
        seen.append((event["type"], event.get("uuid")))
        # The answer to `wakeup`, which asks all workers for a heartbeat: the queue is bound.
        if event["type"] == "worker-heartbeat" and not results:
            results.append(add.delay(1, 1))
        if results and ("task-succeeded", results[0].id) in seen:
            receiver.should_stop = True

    results = []
    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": on_event})
        receiver.capture(timeout=TIMEOUT, wakeup=True)
    types = [kind for kind, task in seen if task == results[0].id]
    # Two processes report: the one that sends and the worker.
    assert [t for t in types if t != "task-sent"] == [
        "task-received", "task-started", "task-succeeded"
    ], types
    assert "task-sent" in types, types


def check_a_killed_worker_leaves_its_task_to_the_next():
    with running_outlive() as (directory, result):
        WORKER.kill()
        (directory / "go").touch()
        WORKER.start()
        # Its broker's delivery says that this was not the first.
        assert result.get(timeout=TIMEOUT) is True
        assert (directory / "started-1").exists()


def check_a_task_that_kills_its_process_runs_again():
    with tempfile.TemporaryDirectory() as directory:
        assert die_once.delay(directory).get(timeout=TIMEOUT) is True


def check_tasks_wait_for_a_worker():
    WORKER.stop()
    results = [add.delay(n, 1) for n in range(5)]
    WORKER.start()
    assert [result.get(timeout=TIMEOUT) for result in results] == [1, 2, 3, 4, 5]


def check_a_worker_outlives_a_restart_of_the_broker():
    with running_outlive() as (directory, _result), tempfile.NamedTemporaryFile() as file:
        restart_broker()
        (directory / "go").touch()
        # The one that ran could not be acknowledged: it comes again, and the others behind it.
        note.apply_async((file.name, "after"), retry=True)
        until((directory / "started-1").exists)
        until(lambda: Path(file.name).read_text() == "after\n")


if __name__ == "__main__":
    with WORKER:
        run(sys.modules[__name__])
