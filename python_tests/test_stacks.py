from typing import Any

import pytest

from peer import CANCELLED, EXEC, STACKED, STACKS, Peer

CODE = """
import time
def inner():
    print('in'); time.sleep(60)
def outer(): inner()
outer()
"""


def stacks(worker: Peer) -> "list[list[Any]]":
    worker.control(STACKS, 9)
    answer = worker.receive("/control")
    assert (answer.type, answer.id) == (STACKED, 9)
    body: "list[list[Any]]" = answer.body
    return body


def test_an_idle_worker_shows_no_frames(shared: Peer) -> None:
    shared.value("1")  # right after READY it still prepares for errors
    ident, name, main, frames = stacks(shared)[0]
    assert isinstance(ident, int)
    assert (name, main, frames) == ("MainThread", True, [])


def test_a_busy_main_thread(shared: Peer) -> None:
    number = shared.begin_code(EXEC, CODE)
    shared.wait_line(b"in")
    frames = stacks(shared)[0][3]
    assert [frame[2] for frame in frames] == ["<module>", "outer", "inner"]
    assert frames[1][3] == "def outer(): inner()"
    assert frames[2][1] == 4
    assert shared.cancel(number) == "running"
    assert shared.end(number).type == CANCELLED


@pytest.mark.parametrize("name", ["reader", "größe \ud800"])
def test_threads_have_names(shared: Peer, name: str) -> None:
    shared.value(
        "import threading\n"
        "stop, there = threading.Event(), threading.Event()\n"
        "def wait_here():\n    there.set()\n    stop.wait()\n"
        f"thread = threading.Thread(target=wait_here, name={name!a})\n"
        "thread.start()\nthere.wait()"
    )
    [found] = [s for s in stacks(shared) if "wait_here" in [frame[2] for frame in s[3]]]
    assert found[1] == name.encode("utf-8", "backslashreplace").decode()
    assert found[2] is False
    shared.value("stop.set()\nthread.join()")


def test_a_loader_that_fails_hides_the_code_only(shared: Peer) -> None:
    shared.value(
        "import threading\n"
        "class Loader:\n    def get_source(self, name): raise RuntimeError('no')\n"
        "stop, there = threading.Event(), threading.Event()\n"
        "names = {'__name__': 'odd', '__loader__': Loader(), 'stop': stop, 'there': there}\n"
        "exec(compile('def odd():\\n    there.set()\\n    stop.wait()', 'odd.py', 'exec'), names)\n"
        "thread = threading.Thread(target=names['odd'])\n"
        "thread.start()\nthere.wait()"
    )
    [frames] = [s[3] for s in stacks(shared) if "odd" in [frame[2] for frame in s[3]]]
    assert frames[0] == ["odd.py", 3, "odd", None]
    shared.value("stop.set()\nthread.join()")
