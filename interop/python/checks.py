"""Runs the checks of a program: its functions named `check_...`, in their order."""

import asyncio
import inspect
import os
import sys
import traceback
import uuid

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")


def unique(name):
    """A name nobody else uses."""
    return f"interop.{name}.{uuid.uuid4().hex[:8]}"


def run(module):
    """Runs the checks of a module, names each that fails and ends the process."""
    failed = 0
    for name, check in list(vars(module).items()):
        if not name.startswith("check_"):
            continue
        try:
            if inspect.iscoroutinefunction(check):
                asyncio.run(asyncio.wait_for(check(), timeout=30))
            else:
                check()
        except Exception:
            failed += 1
            print(f"{name}:")
            traceback.print_exc(file=sys.stdout)
    total = sum(name.startswith("check_") for name in vars(module))
    print(f"{total - failed} of {total} checks passed")
    sys.exit(1 if failed else 0)
