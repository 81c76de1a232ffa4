"""Celery's chords: the tasks and the polling that waits for them go through the broker, the results
through files, as Celery refuses chords over rpc."""

import os
import sys
import tempfile

RESULTS = tempfile.TemporaryDirectory()
os.environ["TASKS_BACKEND"] = f"file://{RESULTS.name}"
os.environ["TASKS_QUEUE"] = "celery.chords"

from celery import chain, chord, group

from checks import run
from tasks import add, fail, total
from workers import TIMEOUT, Worker

WORKER = Worker("chords", "--without-mingle", "--without-gossip")


def check_chords():
    assert chord(group(add.s(n, n) for n in range(5)), total.s())().get(timeout=TIMEOUT) == 20


def check_chains_with_groups():
    flow = chain(add.s(1, 1), group(add.s(1), add.s(2)), total.s(), add.s(100))
    assert flow().get(timeout=TIMEOUT) == 107


def check_a_failed_header_fails_the_chord():
    try:
        chord([add.s(1, 1), fail.s()], total.s())().get(timeout=TIMEOUT)
    except Exception as error:
        assert "on purpose" in str(error), error
    else:
        raise AssertionError("a chord went on without its header")


if __name__ == "__main__":
    with WORKER:
        run(sys.modules[__name__])
