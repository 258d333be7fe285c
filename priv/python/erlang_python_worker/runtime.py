"""Finding pyzmq and msgpack: the user's own, else the copy that the library provides."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

NOT_PROVISIONED = 78  # docs/protocol.md, "Start of a worker"

_OLDEST = {"zmq": (22,), "msgpack": (1, 0)}


def abi_tag() -> str:
    """Names what a compiled package must fit, such as ``cpython-311-x86_64-linux-gnu``."""
    python = sys.implementation.cache_tag or sys.implementation.name
    # "t" for free-threaded and "d" for debug builds: neither loads the others' modules.
    python += getattr(sys, "abiflags", "")
    platform = getattr(sys.implementation, "_multiarch", "")
    if platform in ("", "darwin"):  # says nothing of the processor
        platform = f"{os.uname().machine}-{sys.platform}"
    return f"{python}-{platform}"


def activate(root: str, packages: "Sequence[str]") -> None:
    """Make ``msgpack``, and ``zmq``, importable; ends the process if that can't be done.

    The user's own are taken if they are new enough. Ours come last on ``sys.path``, so that
    they hide nothing; only where the user's are too old are ours loaded first.
    """
    folder = os.path.join(root, abi_tag())
    if _usable(packages):
        return
    sys.path.append(folder)
    if _usable(packages):
        return
    sys.path.insert(0, sys.path.pop())
    if not _usable(packages):
        _leave(folder, packages)
    sys.path.append(sys.path.pop(0))


def _usable(packages: "Sequence[str]") -> bool:
    try:
        if all(_version(name) >= _OLDEST[name] for name in packages):
            return True
    except Exception:  # broken packages fail in many ways: a missing libzmq, another ABI
        pass
    _forget(*packages)
    return False


def _version(name: str) -> "tuple[int, ...]":
    module = __import__(name)
    if name == "msgpack":
        return tuple(module.version[:2])
    return tuple(int(part) for part in module.__version__.split(".") if part.isdigit())


def _forget(*packages: str) -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] in packages:
            del sys.modules[name]


def _leave(folder: str, packages: "Sequence[str]") -> NoReturn:
    # Without the folder it is the first use, which is no trouble: the exit status says all.
    if os.path.isdir(folder):
        names = " and ".join(packages).replace("zmq", "pyzmq")
        sys.stderr.write(
            f"erlang_python found no {names} for {sys.executable}, "
            f"neither in its own environment nor in {folder}\n"
        )
    sys.exit(NOT_PROVISIONED)
