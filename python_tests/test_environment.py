"""environment.py with real processes: built once, by one, and whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import _installers

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "priv/programs/environment.py"
# uv is there, and nothing of the network.
ENVIRONMENT = {
    **{n: v for n, v in os.environ.items() if not n.startswith(("PIP_", "UV_", "PYTHON"))},
    "PATH": f"{Path(sys.prefix) / 'bin'}:/usr/bin:/bin",
    "UV_OFFLINE": "1",
}


@pytest.fixture(scope="session")
def small() -> Path:
    """Wheels of small packages, downloaded once and kept (test/support/wheel_folder.ex has them too)."""
    folder = ROOT / ".cache" / "wheels" / "small"
    if not folder.exists():
        fresh = folder.with_name(f"{folder.name}-{os.getpid()}")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", str(fresh)]
        subprocess.run([*command, "six==1.17.0", "iniconfig==2.1.0"], check=True)
        fresh.rename(folder)
    return folder


def command(base: Path, wheels: Path, *arguments: str | Path) -> list[str | Path]:
    start: list[str | Path] = [sys.executable, "-I", SCRIPT, "--base", base, "--id", "six"]
    return [*start, "--wheels", wheels, "--python", sys.executable, *(arguments or SIX)]


SIX = ("--requirement", "six")


def start(base: Path, wheels: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(base, wheels, *arguments),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def has_six(base: Path) -> bool:
    python = base / "envs" / "six" / "bin" / "python"
    return subprocess.run([python, "-I", "-c", "import six"], check=False).returncode == 0


def entries(base: Path) -> list[str]:
    return sorted(path.name for path in (base / "envs").iterdir())


def test_two_at_once_build_once_and_both_have_it(tmp_path: Path, small: Path) -> None:
    both = [start(tmp_path, small) for _ in range(2)]
    outputs = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert "".join(out for out, _ in outputs).count("building the environment") == 1
    for out, _ in outputs:
        assert out.splitlines()[-1] == f"ready: {tmp_path}/envs/six/bin/python"
    assert has_six(tmp_path)
    assert entries(tmp_path) == [".six.lock", "six"]

    out, _ = start(tmp_path, small).communicate()
    assert out == f"ready: {tmp_path}/envs/six/bin/python\n"


def test_a_killed_builder_leaves_no_lock_and_nothing_that_is_used(
    tmp_path: Path, small: Path
) -> None:
    killed = start(tmp_path, small)
    assert killed.stdout is not None
    # It has made the environment, and is about to install into it.
    for line in killed.stdout:
        if "making it with" in line:
            break
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "envs" / "six").exists()
    assert any(name.startswith(".six-") for name in entries(tmp_path))

    again = start(tmp_path, small)
    out, err = again.communicate()
    assert again.returncode == 0, err
    assert "building the environment" in out
    assert has_six(tmp_path)
    assert (tmp_path / "envs" / "six" / "erlang_python.txt").exists()


def test_what_fails_leaves_nothing_and_says_how_to_try_again(tmp_path: Path, small: Path) -> None:
    process = start(tmp_path, small, "--requirement", "no-such-package")
    _, err = process.communicate()
    assert process.returncode == 1
    assert err.startswith(f"cannot build the environment {tmp_path}/envs/six")
    assert "no-such-package" in err
    assert f"to try by hand: {sys.executable} {SCRIPT} --base {tmp_path}" in err
    assert "Traceback" not in err
    assert entries(tmp_path) == [".six.lock"]


def test_an_unusable_cache_folder_is_named(tmp_path: Path, small: Path) -> None:
    base = tmp_path / "file"
    base.write_text("a file stands where the folder should be")
    process = start(base, small)
    _, err = process.communicate()
    assert process.returncode == 1
    assert str(base) in err
    assert "Traceback" not in err


def test_failure_is_seen_where_sigchld_is_ignored(tmp_path: Path, small: Path) -> None:
    # As under the BEAM. Then a failing uv seems to end with 0.
    done = subprocess.run(
        command(tmp_path, small, "--requirement", "no-such-package"),
        env=ENVIRONMENT,
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1


def test_without_uv_pip_s_settings_do_not_count_and_scripts_run(
    tmp_path: Path, small: Path
) -> None:
    settings = {"PIP_TARGET": str(tmp_path / "elsewhere"), "PIP_USER": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command(tmp_path, small),
        env={**ENVIRONMENT, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "by venv and pip" in done.stdout
    assert has_six(tmp_path)
    programs = tmp_path / "envs" / "six" / "bin"
    pip = subprocess.run([programs / "pip", "--version"], capture_output=True, text=True)
    assert str(programs.parent) in pip.stdout
    activated = [". ./activate && command -v python"]
    shell = subprocess.run(
        ["sh", "-c", *activated], cwd=programs, capture_output=True, text=True, check=True
    )
    assert shell.stdout == f"{programs}/python\n"


def test_without_file_locks_two_builders_leave_each_other_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_args: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    final = tmp_path / "made"
    with contextlib.ExitStack() as both:
        scratches = []
        for _ in range(2):
            alone = both.enter_context(_installers.file_lock(tmp_path / ".made.lock"))
            scratches.append(both.enter_context(_installers.scratch_for(final, alone)))
        for number, scratch in enumerate(scratches):
            (scratch / "new").mkdir()
            (scratch / "new" / str(number)).touch()
            _installers.put_in_place(scratch / "new", final, scratch)
    assert [path.name for path in final.iterdir()] == ["1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".made.lock", "made"]
