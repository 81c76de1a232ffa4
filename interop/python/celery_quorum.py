"""Celery on quorum queues, set up as its documentation says: delays are the broker's, in 28 levels of
queues and topic exchanges, and a worker holds no task before its time."""

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["TASKS_QUEUE"] = "celery.quorum"
os.environ["TASKS_QUEUE_TYPE"] = "quorum"

from celery import chain, group
from kombu import Queue

from checks import restart_broker, run
from tasks import add, app, die_once, flaky, now, note, outlive
from workers import TIMEOUT, Worker, until

WORKER = Worker("quorum", "--without-mingle", "--without-gossip")


def check_results():
    results = [add.delay(n, n) for n in range(50)]
    assert [result.get(timeout=TIMEOUT) for result in results] == [2 * n for n in range(50)]
    assert group(add.s(n, 1) for n in range(10))().get(timeout=TIMEOUT) == list(range(1, 11))
    assert chain(add.s(1, 2), add.s(3), add.s(4))().get(timeout=TIMEOUT) == 10


def check_the_queue_is_a_quorum_queue():
    with app.connection() as connection:
        arguments = {"x-queue-type": "quorum"}
        queue = Queue("celery.quorum", queue_arguments=arguments)(connection.channel())
        # Equivalent to what the worker has declared.
        queue.queue_declare()
        for level in (0, 27):
            queue = Queue(f"celery_delayed_{level}")(connection.channel())
            assert queue.queue_declare(passive=True).message_count == 0


def check_countdowns():
    started = time.time()
    results = [now.apply_async(countdown=countdown) for countdown in (3, 1, 2)]
    third, first, second = [result.get(timeout=TIMEOUT) - started for result in results]
    assert 1 <= first < second < third and second >= 2 and third >= 3, (first, second, third)


def queued(level):
    """Messages that wait in a level."""
    with app.connection() as connection:
        queue = Queue(f"celery_delayed_{level}")(connection.channel())
        return queue.queue_declare(passive=True).message_count


def check_retries():
    assert flaky.delay(countdown=1).get(timeout=TIMEOUT) == 3


def check_a_countdown_waits_in_the_broker():
    result = now.apply_async(countdown=2**27 + 2**20)
    # The highest bit of the delay leads to the queue it waits in; the worker knows nothing of it.
    assert queued(27) == 1
    assert app.control.inspect([WORKER.name]).scheduled() == {WORKER.name: []}
    assert app.control.inspect([WORKER.name]).reserved() == {WORKER.name: []}
    with app.connection() as connection:
        message = Queue("celery_delayed_27")(connection.channel()).get()
        assert message.headers["id"] == result.id, message.headers
        message.ack()
    assert queued(27) == 0


def check_a_killed_worker_leaves_its_task_to_the_next():
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        result = outlive.delay(name)
        until((directory / "started-0").exists)
        WORKER.kill()
        (directory / "go").touch()
        WORKER.start()
        assert result.get(timeout=TIMEOUT) is True
        assert (directory / "started-1").exists()


def check_a_task_that_kills_its_process_runs_again():
    with tempfile.TemporaryDirectory() as directory:
        assert die_once.delay(directory).get(timeout=TIMEOUT) is True


def check_tasks_and_delays_outlive_a_restart_of_the_broker():
    with tempfile.NamedTemporaryFile() as file:
        WORKER.stop()
        note.apply_async((file.name, "delayed"), countdown=1)
        note.apply_async((file.name, "queued"))
        restart_broker()
        WORKER.start()
        until(lambda: Path(file.name).read_text().split() == ["queued", "delayed"])


if __name__ == "__main__":
    with WORKER:
        run(sys.modules[__name__])
