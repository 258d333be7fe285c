import os
from pathlib import Path
from typing import Callable

import pytest

from peer import EXEC, READY, RESULT, Peer

LOG = 0x1E


@pytest.fixture
def folder(tmp_path: Path) -> "Path":
    return tmp_path


@pytest.fixture
def worker(start: "Callable[..., Peer]", folder: Path) -> "Peer":
    peer = start()
    (folder / "early.py").write_text("x = 1\n")
    ready = peer.set_up(paths=[str(folder)], preload=[["module", "early"]], reload="auto")
    assert ready.type == READY
    return peer


def failures(worker: Peer, text: str) -> "tuple[object, list[str]]":
    """A value, and what was logged before it came."""
    number = worker.begin(0x02, [text, None, None, 1, 0])
    logged = []
    while (message := worker.receive()).type == LOG:
        logged.append(message.body[2] + "\n" + message.body[6])
    assert (message.type, message.id) == (RESULT, number), message
    return message.body, logged


def write(file: Path, text: str) -> None:
    """As an editor does: never a file with half of the text."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def test_a_change_counts_for_the_next_request(worker: Peer, folder: Path) -> None:
    write(folder / "shop.py", "x = 1\n")
    assert worker.value("import early, shop; (early.x, shop.x)")[1:] == [1, 1]
    for number in (2, 3, 44):
        write(folder / "early.py", f"x = {number}\n")
        write(folder / "shop.py", f"x = {number}\n")
        assert worker.value("(early.x, shop.x)")[1:] == [number, number]
    assert worker.call("shop", "x.bit_length").body == 6


def test_what_has_not_changed_is_left_alone(worker: Peer, folder: Path) -> None:
    write(
        folder / "count.py", "import builtins\nbuiltins.loads = getattr(builtins, 'loads', 0) + 1\n"
    )
    worker.code(EXEC, "import count, json")
    worker.code(EXEC, "json.kept = True")
    write(folder / "other.py", "x = 1\n")
    for _ in range(3):
        assert worker.value("import other; loads") == 1
    write(folder / "other.py", "x = 22\n")
    assert worker.value("(loads, other.x, json.kept)")[1:] == [1, 22, True]


def test_those_that_import_it_are_loaded_after_it(worker: Peer, folder: Path) -> None:
    write(folder / "tax.py", "RATE = 1\n")
    package = folder / "store"
    package.mkdir()
    write(package / "__init__.py", "from .cart import total\n")
    write(package / "cart.py", "from tax import RATE\ndef total(): return RATE\n")
    assert worker.value("import store; store.total()") == 1
    write(folder / "tax.py", "RATE = 22\n")
    assert worker.value("store.total()") == 22


def test_a_change_by_the_request_that_imports_counts_too(worker: Peer, folder: Path) -> None:
    file = folder / "late.py"
    write(file, "x = 1\n")
    code = f"import late\nopen({str(file)!r}, 'w').write('x = 22')\nlate.x"
    assert worker.value(code) == 1
    assert worker.value("late.x") == 22


def test_a_syntax_error_is_logged_once_and_the_old_code_stays(worker: Peer, folder: Path) -> None:
    write(folder / "one.py", "x = 1\n")
    write(folder / "two.py", "x = 1\n")
    assert worker.value("import one, two; one.x + two.x") == 2
    write(folder / "one.py", "x = \n")
    write(folder / "two.py", "x = 22\n")
    value, logged = failures(worker, "(one.x, two.x)")
    assert value[1:] == [1, 1]  # type: ignore[index]
    assert len(logged) == 1
    # Nothing of how it was loaded stands before it.
    said = f'one, two: the old code stays\n  File "{folder / "one.py"}", line 1\n'
    assert logged[0].startswith(said)
    assert "SyntaxError" in logged[0]
    assert failures(worker, "one.x") == (1, [])
    # What failed with it comes with its mending.
    write(folder / "one.py", "x = 33\n")
    assert failures(worker, "one.x + two.x") == (55, [])


def test_one_that_raises_stays_as_it_was(worker: Peer, folder: Path) -> None:
    write(folder / "one.py", "x = 1\n")
    worker.code(EXEC, "import one")
    for text, kind in (("x = 2\n1 / 0", "ZeroDivisionError"), ("x = 3\nexit(1)", "SystemExit")):
        write(folder / "one.py", text)
        value, logged = failures(worker, "one.x")
        assert value == 1
        assert len(logged) == 1
        assert kind in logged[0]
        said = (
            f'Traceback (most recent call last):\n  File "{folder / "one.py"}", line 2, in <module>'
        )
        assert logged[0].startswith(f"one: the old code stays\n{said}")


def test_a_file_that_has_gone_leaves_the_module(worker: Peer, folder: Path) -> None:
    write(folder / "one.py", "x = 1\n")
    worker.code(EXEC, "import one")
    os.remove(folder / "one.py")
    assert worker.value("one.x") == 1
    write(folder / "one.py", "x = 22\n")
    assert worker.value("one.x") == 22
    worker.code(EXEC, "import sys; del sys.modules['one']")
    write(folder / "one.py", "x = 333\n")
    assert worker.value("one.x") == 22
    assert worker.value("import one; one.x") == 333


def test_never_within_a_request(worker: Peer, folder: Path) -> None:
    write(folder / "one.py", "x = 1\n")
    worker.code(EXEC, "import one")
    number = worker.begin(0x02, ["(one.x, erlang.call('f'), one.x)", None, None, 1, 0])
    call = worker.callback("f")
    write(folder / "one.py", "x = 22\n")
    nested = worker.nest(call, 0x02, "one.x")
    end = worker.receive()
    assert (end.id, end.body) == (nested, 1)
    worker.answer(call, 0)
    assert worker.end(number).body[1:] == [1, 0, 1]
    assert worker.value("one.x") == 22


def test_a_module_that_does_not_end_is_interrupted_with_the_request(
    worker: Peer, folder: Path
) -> None:
    write(folder / "one.py", "x = 1\n")
    worker.code(EXEC, "import one, time")
    write(folder / "one.py", "import time\nx = 22\nprint('in', flush=True)\ntime.sleep(60)\n")
    number = worker.begin(0x02, ["one.x", None, None, 1, 0])
    worker.wait_line(b"in")
    assert worker.cancel(number) == "running"
    assert worker.end(number).type == 0x16
    write(folder / "one.py", "x = 333\n")
    assert worker.value("one.x") == 333


def test_it_is_off_by_default(start: "Callable[..., Peer]", folder: Path) -> None:
    peer = start()
    assert peer.set_up(paths=[str(folder)]).type == READY
    write(folder / "one.py", "x = 1\n")
    peer.code(EXEC, "import one, sys")
    write(folder / "one.py", "x = 22\n")
    assert peer.value("(one.x, 'erlang_python_worker._auto_reload' in sys.modules)")[1:] == [
        1,
        False,
    ]
