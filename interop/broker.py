"""A broker for interop programs to run against."""

import contextlib
import os
import re
import socketserver
import subprocess
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The user named in the client's certificate.
CERTIFIED = "interop"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
# As `cargo test` builds it: with the features of some packages alone, or without those of what only tests need, much
# would be built anew.
BUILD = ["cargo", "build", "--quiet", "--workspace", "--test", "cli"]


@contextlib.contextmanager
def broker(**settings):
    """A broker, with the `address` (host:port) it listens on.

    The one of LEVERET_TEST_URL, or one of our own on a free port, with fresh data and with these
    settings (the variables of the configuration, without LEVERET_), stopped at the end.
    """
    if given := os.environ.get("LEVERET_TEST_URL"):
        yield Given(given)
        return
    with tempfile.TemporaryDirectory(prefix="leveret-interop-") as data:
        own = Own(data, settings)
        try:
            yield own
        except BaseException:
            own.kill()
            raise
        own.stop()


class BrokerFailed(Exception):
    """The broker did not start, or did not end as it should; says what it printed."""


class Given:
    """A broker that runs already, and that nobody here may stop."""

    # Where TLS is spoken, where the certificates for that are, and where the HTTP API is, is not known.
    places = {}

    def __init__(self, address):
        self.address = address

    @contextlib.contextmanager
    def control(self):
        """No way to control it."""
        yield None


class Own:
    """A broker process of our own."""

    def __init__(self, data, settings):
        binary = os.environ.get("LEVERET_BIN")
        if not binary:
            build = [*BUILD, "--bin", "leveret"]
            subprocess.run(build, cwd=ROOT, check=True)
            binary = TARGET / "debug" / "leveret"
        self.tool = [binary, "ctl", "--data-dir", data]
        self.command = [binary, "--data-dir", data, "--metrics", "none"]
        # What steers the programs is no setting of the broker.
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("LEVERET_")}
        self.environment |= {f"LEVERET_{name}": value for name, value in settings.items()}
        self.address = self.tls_address = self.management = "127.0.0.1:0"
        self.certificates = Path(data, "tls")
        self.serve_tls(binary)
        self.start()
        self.add_certified_user()

    def serve_tls(self, binary):
        """Has it speak TLS as well, and take a client's certificate for its login."""
        make = [binary, "tls", "self-signed", self.certificates, "--client", CERTIFIED]
        subprocess.run(make, check=True, capture_output=True)
        self.environment |= {
            "LEVERET_TLS_CERT_FILE": str(self.certificates / "cert.pem"),
            "LEVERET_TLS_KEY_FILE": str(self.certificates / "key.pem"),
            "LEVERET_TLS_CA_FILE": str(self.certificates / "ca.pem"),
            "LEVERET_TLS_VERIFY": "peer",
            "LEVERET_AUTH_MECHANISMS": "PLAIN,AMQPLAIN,ANONYMOUS,EXTERNAL",
            "LEVERET_AUTH_CERTIFICATE_USER": "common_name",
        }

    def add_certified_user(self):
        """Adds the user of the client's certificate, who can't come in otherwise."""
        everything = [".*", ".*", ".*"]
        for command in (
            ["add_user", CERTIFIED, "not for long"],
            ["clear_password", CERTIFIED],
            ["set_permissions", CERTIFIED, *everything],
        ):
            subprocess.run([*self.tool, *command], check=True, capture_output=True)

    @property
    def places(self):
        """For programs: where TLS is spoken, where the certificates for that are, where the HTTP API is."""
        return {
            "AMQPS_ADDRESS": self.tls_address,
            "AMQPS_CERTIFICATES": str(self.certificates),
            "MANAGEMENT_ADDRESS": self.management,
        }

    def start(self, **settings):
        """Starts it, at the address it had before if it had one, with more settings if need be."""
        self.process = subprocess.Popen(
            [*self.command, "--listen", self.address, "--management", self.management],
            env=self.environment
            | {"LEVERET_LISTEN_TLS": self.tls_address}
            | {f"LEVERET_{name}": value for name, value in settings.items()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.printed = []
        for line in self.process.stdout:
            self.printed.append(line)
            if "Server startup complete" in line:
                listeners = dict(re.findall(r"([\w ]+) on (\d+\.\d+\.\d+\.\d+:\d+)", line))
                self.address, self.tls_address = listeners[" AMQP"], listeners[" AMQP over TLS"]
                self.management = listeners[" management"]
                break
        else:
            raise BrokerFailed(f"the broker did not get ready:\n{''.join(self.printed)}")
        # Whatever else it prints must not fill the pipe.
        self.reader = threading.Thread(target=lambda: self.printed.extend(self.process.stdout))
        self.reader.start()

    def stop(self):
        """Has it end as an operator does; it must do so in order."""
        self.process.terminate()
        self.reader.join()
        status = self.process.wait()
        printed = "".join(self.printed)
        if status != 0 or "panicked at" in printed:
            raise BrokerFailed(f"the broker ended with status {status}:\n{printed}")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def restart(self, **settings):
        self.stop()
        self.start(**settings)

    @contextlib.contextmanager
    def control(self):
        """Where (host:port) programs may ask for what operators do, one line for the wish, one back.

        `restart NAME=VALUE...` is with these settings, which the next restart forgets;
        `ctl COMMAND...` is a command of `leveret ctl`, answered by its exit status.
        """
        own = self

        class Wishes(socketserver.StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    wish, *settings = line.decode().split() or [""]
                    if wish == "restart":
                        own.restart(**dict(setting.split("=", 1) for setting in settings))
                        self.wfile.write(b"restarted\n")
                    elif wish == "ctl":
                        done = subprocess.run([*own.tool, *settings], capture_output=True)
                        self.wfile.write(b"%d\n" % done.returncode)
                    else:
                        self.wfile.write(b"no such wish\n")

        with socketserver.TCPServer(("127.0.0.1", 0), Wishes) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield "%s:%d" % server.server_address
            server.shutdown()
