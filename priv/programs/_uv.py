"""uv: the one on the PATH, else a copy from the package index in the library's own cache."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from _installers import (
    ProvisionError,
    ensure_pip,
    file_lock,
    from_wheels,
    has_pip,
    pip_install,
    put_in_place,
    run,
    scratch_for,
    tell,
)

# The oldest whose options environment.py uses (`venv --relocatable`, `export --no-emit-project`).
OLDEST = (0, 5)
# What pip's settings are called there.
PIP_SETTINGS = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_NO_INDEX": "UV_NO_INDEX",
    "PIP_CERT": "SSL_CERT_FILE",
}


def find_uv(base: Path, wheels: Path | None) -> str:
    """The path of a uv, which is installed below `base` if there is none.

    Raises:
        ProvisionError: there is none, and none can be installed.
    """
    on_path = shutil.which("uv")
    own = base / "uv" / "bin" / "uv"
    for candidate in (on_path, str(own)):
        if candidate and new_enough(candidate):
            return candidate
    base.mkdir(parents=True, exist_ok=True)
    with file_lock(base / ".uv.lock") as alone:
        if not new_enough(str(own)):
            tell(f"installing uv into {own.parent.parent}")
            install_uv(own.parent.parent, wheels, alone)
    return str(own)


def new_enough(uv: str) -> bool:
    try:
        said = run([uv, "--version"], dict(os.environ), Path("/"))
    except (ProvisionError, OSError):
        return False
    match = re.search(r"(\d+)\.(\d+)", said)
    return match is not None and (int(match[1]), int(match[2])) >= OLDEST


def install_uv(folder: Path, wheels: Path | None, alone: bool) -> None:
    oldest = ".".join(map(str, OLDEST))
    wanted = ["--only-binary", ":all:", *from_wheels(wheels), f"uv>={oldest}"]
    with scratch_for(folder, alone) as scratch:
        made = scratch / "uv"
        made.mkdir()
        try:
            own = has_pip(sys.executable)
            python = sys.executable if own else ensure_pip(scratch / "environment")
            pip_install(python, made, wanted)
        except ProvisionError as error:
            raise ProvisionError(
                f"no uv on the PATH, and pip could not install it: {error}\n"
                "install uv (https://docs.astral.sh/uv/), or put its wheel into the wheel folder"
            ) from error
        put_in_place(made, folder, scratch)


def uv_environment(base: Path) -> dict[str, str]:
    """The variables for uv: the user's own, with pip's sources where uv has none of its own."""
    environment = dict(os.environ)
    for name, other in PIP_SETTINGS.items():
        if name in environment:
            # pip's lists have blanks between them, uv's list of folders has commas.
            separator = "," if other == "UV_FIND_LINKS" else " "
            environment.setdefault(other, separator.join(environment[name].split()))
    # An activated environment is not the one that is built here.
    environment.pop("VIRTUAL_ENV", None)
    environment["PATH"] = os.pathsep.join([environment.get("PATH", os.defpath), *more_pythons()])
    home = environment.get("HOME", "")
    if not (home and os.access(home, os.W_OK)):
        environment.setdefault("UV_CACHE_DIR", str(base / "uv-cache"))
        environment.setdefault("UV_PYTHON_INSTALL_DIR", str(base / "pythons"))
    return environment


def more_pythons() -> list[str]:
    """Folders of interpreters that may not be on the PATH, newest first: of pyenv and Homebrew."""
    root = Path(os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv")))
    places = [*root.glob("versions/3.*/bin")]
    for prefix in ("/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"):
        places += Path(prefix).glob("opt/python@3.*/bin")
    return [str(place) for place in sorted(places, key=_numbers, reverse=True)]


def _numbers(place: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", place.parent.name)]
