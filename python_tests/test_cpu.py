"""What the system lets a process have of its processors."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from erlang_python_worker import _cpu


def is_metered(folder: Path, process: "str | None", files: "dict[str, str]") -> bool:
    for name, text in files.items():
        file = folder / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    if process is not None:
        (folder / "process").write_text(process)
    return _cpu.is_metered(str(folder / "process"), str(folder / "groups"))


@pytest.mark.parametrize(
    ("process", "files"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}),
        ("0::/system.slice/app.service\n", {"system.slice/app.service/cpu.max": "50000 100000\n"}),
        ("0::/pods/pod/box\n", {"pods/pod/cpu.max": "50000 100000\n", "cpu.max": "max 100000\n"}),
        ("4:cpu,cpuacct:/docker/x\n", {"cpu/cpu.cfs_quota_us": "50000\n"}),
    ],
    ids=["container", "service", "group around it", "version 1"],
)
def test_a_limit_of_cpu_time_is_found(
    tmp_path: Path, process: str, files: "dict[str, str]"
) -> None:
    assert is_metered(tmp_path, process, files)


@pytest.mark.parametrize(
    ("process", "files"),
    [
        (None, {}),
        ("0::/\n", {}),
        ("0::/\n", {"cpu.max": "max 100000\n"}),
        ("0::/other\n", {"app.service/cpu.max": "50000 100000\n"}),
        ("4:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "-1\n"}),
        ("0::/\n", {"cpu.max": ""}),
    ],
    ids=["no groups", "no file", "no limit", "of others", "version 1", "empty"],
)
def test_without_a_limit_none_is_found(
    tmp_path: Path, process: "str | None", files: "dict[str, str]"
) -> None:
    assert not is_metered(tmp_path, process, files)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux pins processes")
def test_cores_are_those_on_which_the_process_may_run() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from erlang_python_worker import _cpu, _spin; print(_cpu.cores(), _spin._offer)"
    )
    root = str(Path(_cpu.__file__).parent.parent)
    run = [sys.executable, "-c", code]
    said = subprocess.run(run, cwd=root, check=True, capture_output=True, text=True).stdout
    assert said == "1 None\n"
