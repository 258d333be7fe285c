import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from peer import ERROR, RESULT, Failure, Peer

# A build backend that needs nothing, for real editable installs by pip.
BACKEND = """
import base64, hashlib, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "editable_shop-1-py3-none-any.whl"
    files = FILES
    files["editable_shop-1.dist-info/METADATA"] = "Metadata-Version: 2.1\\nName: editable_shop\\nVersion: 1\\n"
    files["editable_shop-1.dist-info/WHEEL"] = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    record = "".join(f"{path},,\\n" for path in files) + "editable_shop-1.dist-info/RECORD,,\\n"
    files["editable_shop-1.dist-info/RECORD"] = record
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name
"""

# What setuptools writes for packages that don't lie in a folder of their name.
FINDER = """
import sys
from importlib.util import spec_from_file_location

class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return spec_from_file_location(name, %r) if name == "editable_shop" else None

def install():
    if not any(finder is Finder for finder in sys.meta_path):
        sys.meta_path.append(Finder)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_venv(tmp_path / "env")


def make_venv(path: Path) -> Path:
    venv.create(path)
    return path


def packages(folder: Path) -> Path:
    return next(folder.glob("lib/python*/site-packages"))


def do(worker: Peer, function: str, *args: Any) -> Any:
    end = worker.call("erlang_python_worker._venv", function, *args)
    assert end.type == RESULT, end
    return end.body


def failure(worker: Peer, function: str, *args: Any) -> Failure:
    end = worker.call("erlang_python_worker._venv", function, *args)
    assert end.type == ERROR
    return Failure(end.error[1])


STATE = (
    "import sys, os; [list(sys.path), [repr(f) for f in sys.meta_path], len(sys.path_hooks), "
    "os.environ.get('PATH'), os.environ.get('VIRTUAL_ENV')]"
)


def importable(worker: Peer, name: str) -> bool:
    return worker.code(0x04, f"import {name}").type == RESULT


def test_it_comes_and_goes(worker: Peer, folder: Path) -> None:
    (packages(folder) / "shop.py").write_text("import shop_part\nx = 1\n")
    (packages(folder) / "shop_part.py").write_text("")
    before = worker.value(STATE)
    do(worker, "activate", str(folder))
    assert worker.value("import shop; shop.x") == 1
    assert worker.value("__import__('os').environ['VIRTUAL_ENV']") == str(folder)
    info = do(worker, "info")
    assert (info["active"], info["venv_path"]) == (True, str(folder))
    assert info["site_packages"] == str(packages(folder))
    assert str(packages(folder)) in info["sys_path"]

    do(worker, "deactivate")
    assert worker.value(STATE) == before
    assert not importable(worker, "shop")
    assert not importable(worker, "shop_part")
    assert do(worker, "info")["active"] is False
    do(worker, "deactivate")

    # As some modules can't be loaded twice, they come back as they were.
    worker.value("kept = shop")
    do(worker, "activate", str(folder))
    assert worker.value("import shop; shop is kept") is True


def test_its_packages_come_before_others_and_after_the_library(worker: Peer, folder: Path) -> None:
    do(worker, "activate", str(folder))
    path = do(worker, "info")["sys_path"]
    own = path.index(str(packages(folder)))
    assert own > next(i for i, p in enumerate(path) if p.endswith("lib-dynload"))
    others = [i for i, p in enumerate(path) if p.endswith("site-packages") and i != own]
    assert all(own < i for i in others)


def test_one_takes_the_place_of_another(worker: Peer, tmp_path: Path) -> None:
    one, two = make_venv(tmp_path / "one"), make_venv(tmp_path / "two")
    for number, folder in enumerate((one, two)):
        (packages(folder) / "which.py").write_text(f"n = {number}")
    before = worker.value(STATE)
    do(worker, "activate", str(one))
    assert worker.value("import which; which.n") == 0
    do(worker, "activate", str(two))
    do(worker, "activate", str(two))
    assert worker.value("import which; which.n") == 1
    do(worker, "deactivate")
    assert worker.value(STATE) == before


@pytest.mark.parametrize("way", ["path", "finder"])
def test_an_editable_install(worker: Peer, folder: Path, tmp_path: Path, way: str) -> None:
    project = tmp_path / "project"
    (project / "src" / "odd").mkdir(parents=True)
    where = project / "src" / ("editable_shop.py" if way == "path" else "odd/other_name.py")
    where.write_text("x = 5\n")
    files = (
        {"editable_shop.pth": f"{project / 'src'}\n"}
        if way == "path"
        else {
            "__editable___shop_finder.py": FINDER % str(where),
            "__editable__.shop.pth": "import __editable___shop_finder; __editable___shop_finder.install()\n",
        }
    )
    (project / "backend.py").write_text(f"FILES = {files!r}\n{BACKEND}")
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "editable_shop"\nversion = "1"\n'
    )
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
    options = ["--no-index", "--no-build-isolation", "--no-deps", "-q", "-e", str(project)]
    subprocess.run([*pip, *options], check=True)

    before = worker.value(STATE)
    do(worker, "activate", str(folder))
    assert worker.value("import editable_shop; editable_shop.x") == 5
    do(worker, "deactivate")
    assert worker.value(STATE) == before
    assert not importable(worker, "editable_shop")
    do(worker, "activate", str(folder))
    assert worker.value("import editable_shop; editable_shop.x") == 5


def test_what_is_no_environment(worker: Peer, folder: Path, tmp_path: Path) -> None:
    do(worker, "activate", str(folder))
    for path in (tmp_path, tmp_path / "none"):
        error = failure(worker, "activate", str(path))
        assert error.type == "erlang_python_worker._venv.InvalidVenv"
        assert str(path) in error.message
    other = tmp_path / "other"
    (other / "lib" / "python2.7" / "site-packages").mkdir(parents=True)
    (other / "pyvenv.cfg").touch()
    assert "no packages for Python 3." in failure(worker, "activate", str(other)).message
    assert do(worker, "info")["venv_path"] == str(folder)


def test_variables_that_pth_files_set(worker: Peer, folder: Path) -> None:
    worker.code(0x03, "import os; os.environ.update(WAS='here', MINE='here')")
    setting = "os.environ.update(WAS='theirs', MINE='theirs', NEW='theirs', ANEW='theirs')"
    (packages(folder) / "set.pth").write_text(f"import os; {setting}\n")
    seen = "[os.environ.get(name) for name in ('WAS', 'MINE', 'NEW', 'ANEW')]"
    do(worker, "activate", str(folder))
    assert worker.value(seen) == ["theirs"] * 4
    # What somebody has changed since is theirs.
    worker.code(0x03, "os.environ['MINE'] = 'mine'; os.environ['ANEW'] = 'mine'")
    do(worker, "deactivate")
    assert worker.value(seen) == ["here", "mine", None, "mine"]


def test_other_changes_outlast_it(worker: Peer, folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "mine.py").write_text("")
    do(worker, "activate", str(folder))
    do(worker, "add_path", str(mine))
    do(worker, "add_path", str(packages(folder)))
    worker.value("import mine, json, xml.dom; sys = __import__('sys'); sys.path.append('/later')")
    do(worker, "deactivate")
    assert worker.value("'mine' in sys.modules and 'xml.dom' in sys.modules") is True
    path = do(worker, "info")["sys_path"]
    assert path[0] == str(mine)
    assert path[-1] == "/later"
    assert str(packages(folder)) in path


def test_add_path_reads_pth_files_and_is_done_once(worker: Peer, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more.pth").write_text("more\n")
    (tmp_path / "more" / "found.py").write_text("x = 1\n")
    do(worker, "add_path", str(tmp_path))
    do(worker, "add_path", str(tmp_path))
    path = do(worker, "info")["sys_path"]
    assert path[:2] == [str(tmp_path), str(tmp_path / "more")]
    assert path.count(str(tmp_path)) == 1
    assert worker.value("import found; found.x") == 1
