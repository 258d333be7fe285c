"""provision.py with real interpreters, real pip and uv, and real wheels."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from erlang_python_worker._wheels import WheelError, fits, locked_versions, unpack
from erlang_python_worker.runtime import abi_tag

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "priv/programs/provision.py"
LOCK = ROOT / "priv/programs/requirements.lock"
UV = Path(sys.prefix) / "bin" / "uv"
# No pip setting of the machine, and no uv unless a test gives it.
PLAIN = {n: v for n, v in os.environ.items() if not n.startswith(("PIP_", "UV_", "PYTHON"))}
PLAIN["PATH"] = "/usr/bin:/bin"

Provision = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def wheels() -> Path:
    """The locked wheels for this interpreter, downloaded once and kept."""
    lock_id = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    folder = ROOT / ".cache" / "wheels" / f"{lock_id}-{abi_tag()}"
    if not folder.exists():
        fresh = folder.with_name(f"{folder.name}-{os.getpid()}")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes"]
        command += ["--no-deps", "--only-binary", ":all:", "--dest", str(fresh), "-r", str(LOCK)]
        subprocess.run(command, check=True)
        fresh.rename(folder)
    return folder


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    return tmp_path / "runtime"


@pytest.fixture
def provision(runtime: Path) -> Provision:
    def run(
        *arguments: str | Path, python: str | Path = sys.executable, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(runtime, *arguments, python=python),
            env={**PLAIN, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def command(
    runtime: Path, *arguments: str | Path, python: str | Path = sys.executable
) -> list[str | Path]:
    return [python, "-I", SCRIPT, "--runtime", runtime, "--lock", LOCK, *arguments]


def works(python: str | Path, folder: Path) -> bool:
    """A message goes through a socket of the installed pyzmq, packed by the installed msgpack."""
    code = """
import sys; sys.path.insert(0, sys.argv[1])
import msgpack, zmq
assert msgpack.__file__.startswith(sys.argv[1]) and zmq.__file__.startswith(sys.argv[1])
context = zmq.Context()
left, right = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
left.bind("inproc://x"); right.connect("inproc://x")
left.send(msgpack.packb([1, "two"]))
assert msgpack.unpackb(right.recv()) == [1, "two"]
"""
    return subprocess.run([python, "-I", "-c", code, folder], check=False).returncode == 0


def other_pythons() -> list[str]:
    """The oldest and the newest supported interpreter of this machine, where it has several."""
    found = {}
    for minor in range(9, 30):
        root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
        places = [*root.glob(f"versions/3.{minor}.*/bin/python")]
        places += [Path(path) for path in [shutil.which(f"python3.{minor}") or ""] if path]
        for place in places:
            asked: list[str | Path] = [
                place,
                "-I",
                "-c",
                "import sys, pip; print(sys.version_info[1])",
            ]
            answer = subprocess.run(asked, capture_output=True, text=True, check=False)
            if answer.stdout.strip() == str(minor):
                found[minor] = str(place)
    return [found[minor] for minor in sorted({min(found), max(found)})] if found else []


@pytest.mark.parametrize("python", other_pythons())
def test_installs_from_the_index_for_other_interpreters(
    provision: Provision, runtime: Path, python: str
) -> None:
    # The machine's own index settings count here.
    settings = {n: v for n, v in os.environ.items() if n.startswith("PIP_")}
    done = provision(python=python, **settings)
    assert done.returncode == 0, done.stderr
    (folder,) = (path for path in runtime.iterdir() if path.is_dir())
    assert works(python, folder)


def test_installs_offline_and_is_quiet_the_second_time(
    provision: Provision, runtime: Path, wheels: Path
) -> None:
    first = provision("--wheels", wheels)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("progress: installing pyzmq and msgpack into ")
    folder = runtime / abi_tag()
    assert works(sys.executable, folder)
    assert list(folder.glob("zmq/__pycache__/__init__.*.pyc"))
    made = folder.stat().st_ino

    second = provision()
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert folder.stat().st_ino == made
    assert sorted(path.name for path in runtime.iterdir()) == [f".{abi_tag()}.lock", abi_tag()]


def test_two_at_once_install_once(runtime: Path, wheels: Path) -> None:
    both = [
        subprocess.Popen(
            command(runtime, "--wheels", wheels), env=PLAIN, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert "".join(outputs).count("installing") == 1


def remove_extension(folder: Path) -> None:
    next(folder.glob("zmq/backend/cython/*.so")).unlink()


def truncate_module(folder: Path) -> None:
    (folder / "zmq/asyncio.py").write_text("import")


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def outdate(folder: Path) -> None:
    (folder / next(folder.glob("pyzmq-*.dist-info")).name).rename(folder / "pyzmq-1.0.dist-info")


@pytest.mark.parametrize("damage", [remove_extension, truncate_module, empty, outdate])
def test_rebuilds_a_broken_folder(
    provision: Provision, runtime: Path, wheels: Path, damage: Callable[[Path], None]
) -> None:
    folder = runtime / abi_tag()
    unpack(wheels, LOCK.read_text(), folder)
    damage(folder)
    leftover = runtime / f".{abi_tag()}-killed"
    leftover.mkdir()

    done = provision("--wheels", wheels)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("progress: installing")
    assert works(sys.executable, folder)
    assert not leftover.exists()
    assert provision().stdout == ""


def test_user_settings_do_not_break_it_but_sources_are_honoured(
    provision: Provision, runtime: Path, wheels: Path, tmp_path: Path
) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(
        f"[global]\nno-index = true\nfind-links = {wheels}\n"
        "[install]\nuser = true\nprefix = /nowhere\nno-binary = :all:\n"
    )
    shadows = tmp_path / "shadows"
    shadows.mkdir()
    for name in ("pip", "typing", "zmq"):
        (shadows / f"{name}.py").write_text("raise SystemExit('shadowed')")

    done = provision(
        PIP_CONFIG_FILE=str(config),
        PIP_TARGET="/nowhere",
        PIP_REQUIRE_VIRTUALENV="1",
        PYTHONPATH=str(shadows),
        HOME=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert works(sys.executable, runtime / abi_tag())


def test_without_a_network_says_what_to_do(provision: Provision, runtime: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        index = f"http://127.0.0.1:{closed.getsockname()[1]}/simple"
        done = provision(PIP_INDEX_URL=index, PIP_RETRIES="0")

    assert done.returncode == 1
    first, *_, last = done.stderr.splitlines()
    assert (
        first == f"cannot install pyzmq and msgpack for {sys.executable} into {runtime / abi_tag()}"
    )
    assert last.startswith(f"to try by hand: {sys.executable} {SCRIPT} --runtime {runtime}")
    assert "\npip: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (runtime / abi_tag()).exists()


def test_a_folder_that_cannot_be_written_names_the_setting(runtime: Path) -> None:
    runtime.parent.mkdir(parents=True, exist_ok=True)
    runtime.write_text("a file")
    done = subprocess.run(command(runtime), env=PLAIN, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "\nset ERLANG_PYTHON_RUNTIME_DIR, or `config" in done.stderr


def test_failure_is_seen_where_sigchld_is_ignored(runtime: Path, tmp_path: Path) -> None:
    # As under the BEAM. Then a failing pip seems to end with 0.
    done = subprocess.run(
        command(runtime, "--wheels", tmp_path),
        env=PLAIN,
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "No matching distribution found" in done.stderr


def test_an_unusable_runtime_folder_is_named(provision: Provision, runtime: Path) -> None:
    runtime.write_text("a file stands where the folder should be")
    done = provision()
    assert done.returncode == 1
    assert str(runtime) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """An interpreter without pip."""
    folder = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin" / "python"


@pytest.mark.parametrize("arguments", [["--uv", UV], []], ids=["uv", "ensurepip"])
def test_an_interpreter_without_pip(
    provision: Provision, runtime: Path, wheels: Path, bare: Path, arguments: list[Path]
) -> None:
    done = provision("--wheels", wheels, *arguments, python=bare)
    assert done.returncode == 0, done.stderr
    assert works(bare, runtime / abi_tag())


def test_a_wheel_that_is_not_the_locked_one_is_refused(
    provision: Provision, runtime: Path, wheels: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(wheels, changed)
    with zipfile.ZipFile(next(changed.glob("msgpack-*")), "a") as archive:
        archive.writestr("msgpack/extra.py", "")

    done = provision("--wheels", changed)
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert f"wheels: no wheel of msgpack in {changed} is locked" in done.stderr
    assert not (runtime / abi_tag()).exists()


def test_unpacks_wheels_without_any_installer(wheels: Path, tmp_path: Path) -> None:
    unpack(wheels, LOCK.read_text(), tmp_path / "packages")
    assert works(sys.executable, tmp_path / "packages")
    with pytest.raises(WheelError, match="no wheel of msgpack"):
        unpack(tmp_path, LOCK.read_text(), tmp_path / "packages")


def test_wheels_of_other_interpreters_and_systems_do_not_fit() -> None:
    own = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    assert fits("x-1.0-py3-none-any.whl")
    assert fits("x-1.0-py2.py3-none-any.whl")
    assert not fits("x-1.0-cp38-cp38-manylinux_2_17_x86_64.whl")
    assert not fits(f"x-1.0-{own}-{own}-win_amd64.whl")
    assert not fits(f"x-1.0-{own}-{own}-manylinux_9_99_x86_64.whl")
    assert not fits(f"x-1.0-{own}-{own}-manylinux_2_17_riscv128.whl")


def test_reads_the_versions_of_a_lock() -> None:
    lock = "a==1.0 ; python_full_version < '3.10' \\\n    --hash=sha256:0\na==2.0\nB.c==3\n"
    assert locked_versions(lock) == {"a": {"1.0", "2.0"}, "b.c": {"3"}}
    assert set(locked_versions(LOCK.read_text())) == {"msgpack", "pyzmq"}
