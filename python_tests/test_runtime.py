"""Where zmq and msgpack come from."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Callable

import msgpack
import pytest
import zmq

from erlang_python_worker.runtime import abi_tag
from peer import PYTHON, READY, Peer

# An interpreter like ours, with none of our packages.
BARE = os.path.realpath(sys.executable)
HAS_ZMQ = subprocess.run([BARE, "-c", "import zmq, msgpack"], capture_output=True).returncode == 0
bare = pytest.mark.skipif(HAS_ZMQ, reason="the interpreter itself has zmq and msgpack")


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    folder = tmp_path / "runtime" / abi_tag()
    folder.mkdir(parents=True)
    site = Path(zmq.__file__).parent.parent
    assert Path(msgpack.__file__).parent.parent == site
    for entry in site.iterdir():
        if entry.name in ("zmq", "msgpack", "pyzmq.libs"):
            (folder / entry.name).symlink_to(entry)
    return folder


def test_the_tag_names_version_build_and_platform() -> None:
    python, _, platform = abi_tag().partition("-")
    assert python == sys.implementation.name
    assert platform.startswith(f"{sys.version_info[0]}{sys.version_info[1]}{sys.abiflags}-")
    assert os.uname().machine in platform or sys.maxsize < 2**32


@bare
def test_ours_come_last_on_the_path(start: "Callable[..., Peer]", runtime: Path) -> None:
    peer = start(python=BARE, runtime=str(runtime.parent))
    assert peer.set_up().type == READY
    assert peer.value(
        "import sys, zmq; [sys.path.index(p) for p in sys.path[-2:]] and sys.path[-1]"
    ) == str(runtime)
    assert peer.value("zmq.__file__.startswith(sys.path[-1])") is True


def test_the_users_own_are_taken(start: "Callable[..., Peer]", runtime: Path) -> None:
    peer = start(runtime=str(runtime.parent))
    assert peer.set_up().type == READY
    assert peer.value("import sys; sys.path[-1]") == str(PYTHON)
    assert peer.value("import zmq; zmq.__file__") == zmq.__file__


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("msgpack", "version = (0, 6, 2)"),
        ("msgpack", "raise OSError"),
        ("zmq", "__version__ = '21.0'"),
    ],
)
def test_ours_go_before_those_that_are_too_old(
    start: "Callable[..., Peer]", runtime: Path, tmp_path: Path, module: str, text: str
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / f"{module}.py").write_text(text)
    (old / "users.py").write_text("")
    peer = start(runtime=str(runtime.parent), channels="pyzmq", env={"PYTHONPATH": str(old)})
    assert peer.set_up().type == READY
    assert peer.value(f"import sys, {module}; {module}.__file__").startswith(str(runtime))
    assert peer.value("[sys.path[-1], sys.path[0]]") == [str(runtime), str(old)]


@bare
def test_none_at_all_is_told_in_one_line(start: "Callable[..., Peer]", tmp_path: Path) -> None:
    (tmp_path / abi_tag()).mkdir()
    peer = start(python=BARE, runtime=str(tmp_path))
    assert peer.exit_status() == 78
    assert peer.process.stdout is not None
    (line,) = peer.process.stdout.read().decode().splitlines()
    assert BARE.split("/")[-1][:6] in line
    assert str(tmp_path / abi_tag()) in line


@bare
def test_the_first_use_is_no_trouble(start: "Callable[..., Peer]", tmp_path: Path) -> None:
    peer = start(python=BARE, runtime=str(tmp_path))
    assert peer.exit_status() == 78
    assert peer.process.stdout is not None
    assert peer.process.stdout.read() == b""
