"""A broker for interop programs to run against."""

import contextlib
import os
import re
import subprocess
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


@contextlib.contextmanager
def broker(**settings):
    """The address of a broker, as host:port.

    The one of LEVERET_TEST_URL, or one of our own on a free port, with fresh data and with these
    settings (the variables of the configuration, without LEVERET_), stopped at the end.
    """
    if given := os.environ.get("LEVERET_TEST_URL"):
        yield given
        return
    binary = os.environ.get("LEVERET_BIN")
    if not binary:
        subprocess.run(["cargo", "build", "--quiet", "--package", "leveret"], cwd=ROOT, check=True)
        binary = TARGET / "debug" / "leveret"
    # What steers the programs is no setting of the broker.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LEVERET_")}
    environment |= {f"LEVERET_{name}": value for name, value in settings.items()}
    with tempfile.TemporaryDirectory(prefix="leveret-interop-") as data:
        command = [binary, "--listen", "127.0.0.1:0", "--data-dir", data]
        command += ["--management", "none", "--metrics", "none"]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            yield ready_address(process)
        finally:
            process.terminate()
            process.wait()


def ready_address(process):
    for line in process.stdout:
        if ready := re.search(r"Server startup complete.*?(\d+\.\d+\.\d+\.\d+:\d+)", line):
            # Whatever else it prints must not fill the pipe.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return ready[1]
    raise SystemExit("the broker did not get ready")
