"""Installs pyzmq and msgpack for the very interpreter that runs this file.

    python provision.py --runtime ROOT --lock FILE [--wheels DIR] [--uv PATH]

They land in ROOT/<ABI tag>, apart from the user's environment, which is left as it is.
Nothing happens when they are there and whole. Exits with 0 when they are, else with 1
and the reason on stderr. Only progress goes to stdout.
"""

from __future__ import annotations

import compileall
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from py_compile import PycInvalidationMode

# Isolated mode (-I) leaves this folder out, and the worker's code is in another.
sys.path.insert(0, str(Path(__file__).resolve().parent.with_name("python")))
sys.path.insert(0, str(Path(__file__).resolve().parent))

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
from _program import absolute, finish, parser
from erlang_python_worker._wheels import WheelError, locked_versions, unpack
from erlang_python_worker.runtime import abi_tag

SOURCE_VARIABLES_OF_UV = re.compile(
    "UV_(INDEX|DEFAULT_INDEX|EXTRA_INDEX|FIND_LINKS|NO_INDEX|OFFLINE|NATIVE_TLS|SYSTEM_CERTS|"
    "INSECURE_HOST|CACHE|NO_CACHE|HTTP|KEYRING|CONFIG_FILE)"
)
INSTALL_OPTIONS = ["--require-hashes", "--only-binary", ":all:", "--no-deps"]

# Without site-packages (-S), where the user may have other copies. The compiled half of msgpack
# is named: without it msgpack silently falls back to a slow one.
IMPORT_CHECK = "import sys; sys.path.insert(0, sys.argv[1]); import zmq, msgpack._cmsgpack"


@dataclass(frozen=True)
class Options:
    runtime: Path
    lock: Path
    wheels: Path | None
    uv: str | None


def provision(options: Options) -> Path:
    """Makes sure that the packages are there and whole.

    Returns:
        the folder that holds them.
    Raises:
        ProvisionError: no way of installing them worked.
        OSError: the runtime folder can't be written.
    """
    final = options.runtime / abi_tag()
    if defect(final, options.lock) is None:
        return final
    options.runtime.mkdir(parents=True, exist_ok=True)
    with file_lock(options.runtime / f".{final.name}.lock") as alone:
        # Somebody else may have installed them while this process waited.
        reason = defect(final, options.lock)
        if reason is not None:
            tell(f"installing pyzmq and msgpack into {final}: {reason}")
            build(options, final, alone)
    return final


def build(options: Options, final: Path, alone: bool) -> None:
    with scratch_for(final, alone) as scratch:
        packages = install(options, scratch)
        # By content: the folder may be copied into a release, and what is in it never changes.
        by_content = PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(packages, quiet=2, force=True, invalidation_mode=by_content)
        put_in_place(packages, final, scratch)


def install(options: Options, scratch: Path) -> Path:
    """Tries one way after the other; returns the folder made by the first that works."""
    failures = []
    for way in ways(options):
        name = way.__name__
        # A folder of its own below `scratch`, whose mode 0700 is not for the result.
        folder = scratch / name
        folder.mkdir()
        try:
            way(options, folder)
            reason = defect(folder, options.lock)
            if reason is None:
                return folder
            failures.append(f"{name}: {reason}")
        except (ProvisionError, WheelError, OSError) as error:
            failures.append(f"{name}: {error}")
    raise ProvisionError("\n".join(failures))


def ways(options: Options) -> list[Callable[[Options, Path], None]]:
    """What can be tried here, most faithful to the user's settings first."""
    found: list[Callable[[Options, Path], None]]
    found = [pip] if has_pip(sys.executable) else [ensurepip]
    if options.uv or shutil.which("uv"):
        # Making an environment for a pip of its own takes longer than all uv does.
        found.insert(0 if found == [ensurepip] else 1, uv)
    if options.wheels:
        found.append(wheels)
    return found


def pip(options: Options, folder: Path) -> None:
    pip_install(sys.executable, folder, [*INSTALL_OPTIONS, *sources(options)])


def uv(options: Options, folder: Path) -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("UV_") or SOURCE_VARIABLES_OF_UV.match(name)
    }
    if "PIP_INDEX_URL" in environment and "UV_INDEX_URL" not in environment:
        environment.setdefault("UV_DEFAULT_INDEX", environment["PIP_INDEX_URL"])
    command = [options.uv or "uv", "pip", "install", "--python", sys.executable]
    command += ["--target", str(folder)]
    run([*command, *INSTALL_OPTIONS, *sources(options)], environment, folder)


def ensurepip(options: Options, folder: Path) -> None:
    """With the pip that the interpreter carries, in an environment that is thrown away."""
    python = ensure_pip(folder.with_name("environment"))
    pip_install(python, folder, [*INSTALL_OPTIONS, *sources(options)])


def wheels(options: Options, folder: Path) -> None:
    if options.wheels:
        unpack(options.wheels, options.lock.read_text(encoding="utf-8"), folder)


def sources(options: Options) -> list[str]:
    return ["--requirement", str(options.lock), *from_wheels(options.wheels)]


def defect(folder: Path, lock: Path) -> str | None:
    """What is wrong with a folder of packages, or None if it can be used."""
    if not folder.is_dir():
        return "not there yet"
    records = list(folder.glob("*.dist-info/RECORD"))
    pins = locked_versions(lock.read_text(encoding="utf-8"))
    for record in records:
        name, _, version = record.parent.name[: -len(".dist-info")].partition("-")
        if version not in pins.get(name.lower(), ()):
            return f"{name} {version} is not in the lock file"
        # "path,hash,size"; RECORD's own line has no size.
        files = record.read_text(encoding="utf-8")
        for path, size in re.findall(r"^([^,\n]+),[^,\n]*,(\d+)$", files, re.MULTILINE):
            file = folder / path
            if not file.is_file() or file.stat().st_size != int(size):
                return f"{path} is damaged"
    try:
        run([sys.executable, "-I", "-S", "-c", IMPORT_CHECK, str(folder)], dict(os.environ), folder)
    except ProvisionError as error:
        return str(error).rpartition("\n")[2]
    return None


def parse(arguments: list[str]) -> Options:
    known = parser(__file__, __doc__)
    known.add_argument("--runtime", type=absolute, required=True)
    known.add_argument("--lock", type=absolute, required=True)
    known.add_argument("--uv")
    return Options(**vars(known.parse_args(arguments)))


def main(arguments: list[str]) -> int:
    options = parse(arguments)

    def task() -> None:
        provision(options)

    folder = options.runtime / abi_tag()
    failed = f"cannot install pyzmq and msgpack for {sys.executable} into {folder}"
    return finish(__file__, arguments, task, failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
