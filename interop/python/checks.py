"""Runs the checks of a program: its functions named `check_...`, in their order."""

import asyncio
import inspect
import os
import socket
import sys
import traceback
import uuid

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")


def unique(name):
    """A name nobody else uses."""
    return f"interop.{name}.{uuid.uuid4().hex[:8]}"


class Skipped(Exception):
    """A check can't be made with this broker; says why."""


def restart_broker():
    """Has the broker stop in order, which closes connections with 320, and start again."""
    answer = wish("restart")
    assert answer == "restarted", answer


def control_broker(command):
    """Runs a command of `leveret ctl`."""
    status = wish(f"ctl {command}")
    assert status == "0", f"{command} ended with status {status}"


def wish(what):
    if not (control := os.environ.get("AMQP_CONTROL")):
        raise Skipped("nobody here may restart or control the broker")
    host, _, port = control.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as wishes:
        wishes.sendall(f"{what}\n".encode())
        return wishes.makefile().readline().strip()


def run(module):
    """Runs the checks of a module, names each that fails or is skipped, and ends the process."""
    failed, skipped = 0, 0
    for name, check in list(vars(module).items()):
        if not name.startswith("check_"):
            continue
        try:
            if inspect.iscoroutinefunction(check):
                asyncio.run(asyncio.wait_for(check(), timeout=30))
            else:
                check()
        except Skipped as reason:
            skipped += 1
            print(f"{name}: skipped, {reason}")
        except Exception:
            failed += 1
            print(f"{name}:")
            traceback.print_exc(file=sys.stdout)
    total = sum(name.startswith("check_") for name in vars(module))
    print(f"{total - failed - skipped} of {total} checks passed")
    sys.exit(1 if failed else 0)
