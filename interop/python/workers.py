"""Celery workers: processes as `celery worker` starts them."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path


PR_SET_PDEATHSIG = 1
# Generous: it bounds a hang.
TIMEOUT = 30


class Worker:
    """A worker of `tasks`, from entering to leaving the context."""

    def __init__(self, name, *arguments, **environment):
        self.name = f"{name}@interop"
        # One process, so that tasks run in the order they arrive in.
        self.command = [sys.executable, "-m", "celery", "--app", "tasks", "worker"]
        self.command += ["--hostname", self.name, "--concurrency", "1", "--loglevel", "INFO"]
        self.command += arguments
        self.environment = {**os.environ, **environment}
        self.printed = []

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *failure):
        self.stop()
        (_, error, _) = failure
        if error and (not isinstance(error, SystemExit) or error.code):
            print("--- the worker printed ---", *self.printed[-100:], sep="\n")

    def start(self):
        """Starts it and waits until it takes tasks."""
        self.process = subprocess.Popen(
            self.command,
            cwd=Path(__file__).parent,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A group of its own, as it has children, and an end with this process.
            process_group=0,
            preexec_fn=lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
        )
        ready = threading.Event()
        self.reader = threading.Thread(target=self.read, args=(self.process, ready), daemon=True)
        self.reader.start()
        assert ready.wait(60), "\n".join(self.printed)

    def read(self, process, ready):
        for line in process.stdout:
            self.printed.append(line.rstrip())
            if f"{self.name} ready." in line:
                ready.set()

    def stop(self):
        """Has it finish what it does and end."""
        if self.process.poll() is None:
            self.process.terminate()
            self.reader.join()
            self.process.wait()

    def kill(self):
        """Ends it and its children at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.reader.join()
        self.process.wait()


def until(is_so, timeout=TIMEOUT):
    """Waits for what nobody announces."""
    deadline = time.monotonic() + timeout
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
