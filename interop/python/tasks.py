"""A Celery application as they are, for the programs that test Celery; its worker imports it too."""

import os
import time
from pathlib import Path

from celery import Celery

from checks import URL

app = Celery("tasks", broker=URL, backend=os.environ.get("TASKS_BACKEND", "rpc://"))
app.conf.update(
    # A start against a broker that is just starting is none of these tests.
    broker_connection_retry_on_startup=True,
    # Seldom otherwise, for people.
    result_chord_retry_interval=0.1,
    worker_send_task_events=True,
    task_send_sent_event=True,
)
if queue := os.environ.get("TASKS_QUEUE"):
    app.conf.task_default_queue = queue
if os.environ.get("TASKS_QUEUE_TYPE") == "quorum":
    # What Celery's documentation tells to set.
    app.conf.update(
        task_default_queue_type="quorum",
        task_default_exchange_type="topic",
        broker_transport_options={"confirm_publish": True},
    )


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def fail():
    raise ValueError("on purpose")


@app.task
def now():
    return time.time()


@app.task(bind=True, max_retries=3)
def flaky(self, countdown=0):
    """Fails three times."""
    if self.request.retries < 3:
        raise self.retry(countdown=countdown)
    return self.request.retries


@app.task(bind=True, acks_late=True)
def outlive(self, directory):
    """Says in the directory that it has started, and ends when `go` is there or all is gone."""
    directory = Path(directory)
    (directory / f"started-{len(list(directory.glob('started-*')))}").touch()
    while directory.exists() and not (directory / "go").exists():
        time.sleep(0.02)
    return self.request.delivery_info["redelivered"]


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def die_once(self, directory):
    """Takes its process down the first time."""
    marker = Path(directory) / "died"
    if not marker.exists():
        marker.touch()
        os._exit(1)
    return self.request.delivery_info["redelivered"]


@app.task
def note(path, word):
    """Appends a word to a file."""
    with open(path, "a") as file:
        file.write(f"{word}\n")
