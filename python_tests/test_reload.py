import os
from pathlib import Path
from shutil import rmtree
from zipfile import ZipFile

import pytest

from peer import ERROR, RESULT, Failure, Peer


@pytest.fixture
def package(worker: Peer, tmp_path: Path) -> "Path":
    """A package whose parts need each other, imported by the worker."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .cart import total\n")
    (folder / "cart.py").write_text(
        "from . import prices\nfrom shop.tax import add\nSEEN = prices.P\ndef total(): return add(SEEN)\n"
    )
    (folder / "prices.py").write_text("P = 1\n")
    (folder / "tax.py").write_text("def add(n): return n * 10\n")
    worker.code(0x03, f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import shop")
    return folder


def reload(worker: Peer, name: str, deep: bool = False) -> "Failure | None":
    end = worker.call("erlang_python_worker._reload", "reload", name, deep)
    if end.type == RESULT:
        assert end.body is None
        return None
    assert end.type == ERROR
    return Failure(end.error[1])


def test_the_same_size_in_the_same_second_counts(worker: Peer, tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    file.write_text("x = 1\n")
    os.utime(file, (1_000_000_000, 1_000_000_000))
    worker.code(0x03, f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import one")
    file.write_text("x = 2\n")
    os.utime(file, (1_000_000_000, 1_000_000_000))
    assert reload(worker, "one") is None
    assert worker.value("one.x") == 2


def test_deep_loads_what_is_needed_first(worker: Peer, package: Path) -> None:
    assert worker.value("shop.total()") == 10
    (package / "prices.py").write_text("P = 22\n")
    (package / "tax.py").write_text("def add(n): return n * 100\n")
    assert reload(worker, "shop") is None
    assert worker.value("shop.total()") == 10
    assert reload(worker, "shop", deep=True) is None
    assert worker.value("shop.total()") == 2200


def test_a_syntax_error_leaves_all_as_it_was(worker: Peer, package: Path) -> None:
    (package / "prices.py").write_text("P = 22\n")
    (package / "tax.py").write_text("def add(n: return\n")
    failure = reload(worker, "shop", deep=True)
    assert failure is not None
    assert failure.type == "SyntaxError"
    assert worker.value("(shop.total(), shop.prices.P)") == [_tuple(), 10, 1]


def test_an_exception_leaves_all_as_it_was(worker: Peer, package: Path) -> None:
    (package / "prices.py").write_text("P = 22\nNEW = 1\n")
    (package / "cart.py").write_text("from . import prices\ntotal = 1 / 0\n")
    failure = reload(worker, "shop", deep=True)
    assert failure is not None
    assert failure.type == "ZeroDivisionError"
    assert worker.value("(shop.total(), shop.prices.P)") == [_tuple(), 10, 1]
    assert worker.value("hasattr(shop.prices, 'NEW')") is False


def test_deep_forgets_a_submodule_whose_file_is_gone(worker: Peer, package: Path) -> None:
    (package / "tax.py").unlink()
    # One that needs it can't be loaded, and all are what they were.
    failure = reload(worker, "shop", deep=True)
    assert failure is not None
    assert (failure.type, failure.message) == ("ModuleNotFoundError", "No module named 'shop.tax'")
    assert worker.value("(shop.total(), shop.tax.add(1))") == [_tuple(), 10, 10]
    (package / "cart.py").write_text("def total(): return 7\n")
    assert reload(worker, "shop", deep=True) is None
    assert worker.value("(shop.total(), hasattr(shop, 'tax'))") == [_tuple(), 7, False]
    assert worker.value("'shop.tax' in __import__('sys').modules") is False


def test_deep_forgets_a_folder_that_is_gone(worker: Peer, package: Path) -> None:
    part = package / "part"
    part.mkdir()
    (part / "__init__.py").write_text("")
    (part / "deep.py").write_text("")
    worker.code(0x03, "import shop.part.deep")
    rmtree(part)
    assert reload(worker, "shop", deep=True) is None
    assert worker.value("[n for n in __import__('sys').modules if 'part' in n]") == []


def test_deep_keeps_what_is_in_a_zip_file(worker: Peer, tmp_path: Path) -> None:
    with ZipFile(tmp_path / "packed.zip", "w") as file:
        file.writestr("packed/__init__.py", "")
        file.writestr("packed/part.py", "X = 5")
    path = str(tmp_path / "packed.zip")
    worker.code(0x03, f"import sys; sys.path.insert(0, {path!r}); import packed.part")
    assert reload(worker, "packed", deep=True) is None
    assert worker.value("packed.part.X") == 5


def test_one_that_is_not_loaded(worker: Peer) -> None:
    for name in ("wave", "wave.no_such", "json.decoder"):
        assert reload(worker, name) is None
    assert worker.value("'wave' in __import__('sys').modules") is False
    worker.code(0x03, "import json")
    for name, lacks in [
        ("no_such", "no_such"),
        ("no_such.part.deep", "no_such"),
        ("json.no_such.deep", "json.no_such"),
    ]:
        failure = reload(worker, name)
        assert failure is not None
        assert (failure.type, failure.message) == (
            "ModuleNotFoundError",
            f"No module named {lacks!r}",
        )


def test_modules_that_import_each_other(worker: Peer, tmp_path: Path) -> None:
    folder = tmp_path / "ring"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for name, other in (("a", "b"), ("b", "a")):
        (folder / f"{name}.py").write_text(f"import ring.{other}\nx = 1\n")
    worker.code(0x03, f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import ring.a")
    for name in "ab":
        (folder / f"{name}.py").write_text("x = 23\n")
    assert reload(worker, "ring", deep=True) is None
    assert worker.value("(ring.a.x, ring.b.x)") == [_tuple(), 23, 23]


def _tuple() -> object:
    import msgpack

    return msgpack.ExtType(32, b"")


def test_deep_looks_at_modules_while_others_are_imported(worker: Peer, package: Path) -> None:
    code = "class Name(str):\n    def startswith(self, prefix):\n"
    code += "        sys.modules['imported_meanwhile'] = sys\n        return False\n"
    worker.value(f"import sys\n{code}sys.modules[Name('other')] = sys\nNone")
    assert reload(worker, "shop", deep=True) is None
