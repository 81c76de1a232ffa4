"""The languages stock clients are in: what each needs, and how its programs are built."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from broker import BUILD, ROOT, TARGET

HERE = Path(__file__).resolve().parent
BUILT = TARGET / "interop"


class Missing(Exception):
    """A language's programs can't be run here; says why."""


def of(language):
    """What programs of this language are run with, built once."""
    if language not in FOUND:
        try:
            FOUND[language] = LANGUAGES[language]()
        except Missing as missing:
            FOUND[language] = missing
    if isinstance(FOUND[language], Missing):
        raise FOUND[language]
    return FOUND[language]


FOUND = {}


def python():
    """The interpreter of a virtual environment that has the clients, made when they change."""
    requirements = HERE / "python" / "requirements.txt"
    environment = HERE / ".venv"
    interpreter = environment / "bin" / "python"
    with unless_done("python", requirements.read_bytes()) as todo:
        if todo or not interpreter.exists():
            call(sys.executable, "-m", "venv", "--clear", environment)
            install = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            call(*install, "--requirement", requirements)
    return interpreter


def rust():
    """The directory of the binaries: of the programs and of the examples."""
    need("cargo")
    call(*BUILD, "--bins", cwd=ROOT)
    return TARGET / "debug"


def go():
    """The program."""
    need("go")
    program = BUILT / "go" / "amqp091"
    call("go", "build", "-o", program, ".", cwd=HERE / "go")
    return program


def node():
    """The program that runs JavaScript, with the libraries of `interop/node` beside that."""
    need("node", "npm")
    project = HERE / "node"
    locked = [project / "package.json", project / "package-lock.json"]
    with unless_done("node", *contents(locked)) as todo:
        if todo or not (project / "node_modules").exists():
            call("npm", "ci", "--loglevel=error", cwd=project)
    return shutil.which("node")


def java():
    """The command that runs the program, built by Maven when its sources change."""
    need("java", "javac", "mvn")
    project = HERE / "java"
    built = BUILT / "java"
    maven = ["mvn", "--quiet", "--batch-mode", "-Dstyle.color=never"]
    with unless_done("java", *contents([project / "pom.xml", *project.glob("src/*.java")])) as todo:
        if todo or not built.exists():
            call(*maven, f"-Dinterop.built={built}", "compile", cwd=project)
    # Most of its short life would go into compiling itself well.
    classes = f"{built}/classes:{built}/libraries/*"
    return ["java", "-XX:TieredStopAtLevel=1", "-cp", classes, "Main"]


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            raise Missing(f"{tool} is not installed")


def call(*command, cwd=HERE):
    """Runs a step of a build. What the registry refuses is as if the toolchain were missing."""
    try:
        subprocess.run(command, cwd=cwd, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing(str(error)) from error


def contents(files):
    """Names and contents, in the order of the names."""
    return [part for file in sorted(files) for part in (file.name.encode(), file.read_bytes())]


@contextlib.contextmanager
def unless_done(language, *inputs):
    """Whether a build is due, as its inputs have changed; one process at a time builds."""
    digest = hashlib.sha256(b"\0".join([str(HERE).encode(), *inputs])).hexdigest()
    BUILT.mkdir(parents=True, exist_ok=True)
    with open(BUILT / f"{language}.sha256", "a+") as stamp:
        fcntl.flock(stamp, fcntl.LOCK_EX)
        stamp.seek(0)
        todo = stamp.read() != digest
        stamp.truncate(0)
        yield todo
        stamp.write(digest)


LANGUAGES = {"python": python, "rust": rust, "go": go, "node": node, "java": java}
