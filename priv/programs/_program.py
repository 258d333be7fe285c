"""What provision.py and environment.py are as programs: their arguments, and how they end."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from _installers import ProvisionError

WRITABLE = (
    "set ERLANG_PYTHON_RUNTIME_DIR, or `config :erlang_python, runtime_dir: dir`, to a folder that "
    "this user may write to"
)


def parser(file: str, description: str | None) -> argparse.ArgumentParser:
    """One that knows what both programs take."""
    made = argparse.ArgumentParser(prog=Path(file).name, description=description)
    made.add_argument("--wheels", type=absolute)
    return made


def absolute(path: str) -> Path:
    return Path(path).absolute()


def finish(file: str, arguments: list[str], task: Callable[[], None], failed: str) -> int:
    """Does what the program is for; where that fails, says on stderr that it `failed`, and why.

    Returns:
        the exit status.
    """
    # The BEAM hands SIGCHLD down as ignored, and then every subprocess seems to end with 0.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        task()
    except (ProvisionError, OSError) as error:
        by_hand = shlex.join([sys.executable, str(Path(file).resolve()), *arguments])
        print(f"{failed}\n{error}", file=sys.stderr)
        if isinstance(error, OSError):
            print(WRITABLE, file=sys.stderr)
        print(f"to try by hand: {by_hand}", file=sys.stderr)
        return error.status if isinstance(error, ProvisionError) else 1
    return 0
