"""How provision.py and environment.py run pip and uv, and put what these have made in its place."""

from __future__ import annotations

import ast
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

# Settings of pip that say where packages come from. The others (user, target, prefix,
# require-virtualenv, no-binary, constraint, ...) are meant for the user's own
# installations and would break this one.
SOURCE_SETTINGS = {
    *("index-url", "extra-index-url", "find-links", "no-index"),
    *("trusted-host", "cert", "client-cert", "proxy", "timeout", "retries"),
    *("cache-dir", "no-cache-dir", "keyring-provider", "use-feature", "use-deprecated"),
}


class ProvisionError(Exception):
    """Something can't be installed; the text says why, a line per way that was tried."""

    status = 1  # with which the program exits


def tell(text: str) -> None:
    """Progress: the BEAM takes these lines out of the output."""
    print(f"progress: {text}", flush=True)


def run(
    command: list[str],
    environment: dict[str, str],
    cwd: Path,
    each_line: Callable[[str], None] = lambda line: None,
) -> str:
    """Runs a command to its end and returns its output, whose lines are also handed on at once."""
    output = []
    with subprocess.Popen(  # noqa: S603 - fixed words and paths, no shell
        command,
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            output.append(line)
            each_line(line.strip())
    if process.returncode != 0:
        raise ProvisionError(digest("".join(output)))
    return "".join(output)


def digest(output: str) -> str:
    """The lines that matter: installers warn at length, and name every hash they expected."""
    lines = [line for line in output.splitlines() if line.strip() and line[:7] != "WARNING"]
    middle = [line for line in lines[2:-3] if line.startswith("ERROR")]
    return "\n".join([*lines[:2], *middle[:3], *lines[2:][-3:]])


def has_pip(python: str) -> bool:
    try:
        run([python, "-I", "-c", "import pip"], dict(os.environ), Path("/"))
    except ProvisionError:
        return False
    return True


def ensure_pip(environment: Path) -> str:
    """The pip that the interpreter carries, in an environment; returns that one's interpreter."""
    command = [sys.executable, "-I", "-m", "venv", str(environment)]
    run(command, dict(os.environ), environment.parent)
    return str(environment / "bin" / "python")


def pip_install(python: str, folder: Path, arguments: list[str]) -> None:
    """Installs into a folder apart from the interpreter's own packages."""
    command = [python, "-I", "-m", "pip"]
    environment = pip_environment(command, folder)
    command += ["install", "--target", str(folder), "--no-compile", "--quiet"]
    run([*command, *arguments], environment, folder)


def pip_environment(command: list[str], folder: Path) -> dict[str, str]:
    """The environment for pip: the user's settings reduced to where packages come from."""
    environment = dict(os.environ)
    listing = run([*command, "config", "list"], environment, folder)
    environment = {n: v for n, v in environment.items() if not n.startswith(("PIP_", "PYTHON"))}
    settings = dict(re.findall(r"^(\S+?)=(.*)$", listing, re.MULTILINE))
    # In the order in which pip lets one override the other.
    for section in ("global", "install", ":env:"):
        for key, literal in settings.items():
            owner, _, name = key.rpartition(".")
            if owner == section and name in SOURCE_SETTINGS:
                variable = "PIP_" + name.upper().replace("-", "_")
                environment[variable] = str(ast.literal_eval(literal))
    environment.setdefault("PIP_RETRIES", "2")
    environment["PIP_CONFIG_FILE"] = os.devnull
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    environment["PIP_NO_INPUT"] = "1"
    return environment


def from_wheels(wheels: Path | None) -> list[str]:
    """The options of pip, and of uv, that take packages from a folder alone."""
    return [] if wheels is None else ["--no-index", "--find-links", str(wheels)]


@contextlib.contextmanager
def scratch_for(final: Path, alone: bool) -> Iterator[Path]:
    """A folder beside `final`, in which that is made and which then goes with all that is in it.

    Args:
        alone: nobody else makes one: what an earlier one left, because it was killed, goes first.
    """
    if alone:
        for leftover in final.parent.glob(f".{final.name}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def put_in_place(made: Path, final: Path, scratch: Path) -> None:
    """What was made appears whole, or not at all."""
    if os.path.lexists(final):
        final.rename(scratch / "broken")
    made.rename(final)


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[bool]:
    """Held by one process at a time; the system frees it when its holder dies.

    Gives whether it is held. Some network file systems have no locks: two may build at once there,
    each in a scratch folder of its own, and the renames keep what the last one leaves whole.
    """
    with open(path, "w", encoding="utf-8") as file:
        held = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            held = False
        yield held
