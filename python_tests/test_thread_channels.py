"""The end of the threads that call back, and of a worker that has such threads."""

from __future__ import annotations

import pytest

from calling import begin, in_callback, working
from peer import DETACHED, RUN, SHUTDOWN, Peer


def test_a_thread_channel_ends_with_its_thread(own: Peer) -> None:
    own.value("import threading, os")
    before = own.descriptors()
    for where in ("a thread", "a pool of threads", "a thread of a C library"):
        for _ in range(5):
            number = begin(own, working(where, "return erlang.call('f')"))
            own.answer(own.callback(), 1)
            assert own.end(number).body == 1
    assert own.value("threading.active_count()") <= 3
    assert own.settles(lambda: own.descriptors() <= before + 2), (before, own.descriptors())


LEFT = {
    "idle": "erlang.call('f'); gate.wait()",
    "waiting": "erlang.call('f'); erlang.call('g')",
    "waiting, and stubborn": """
erlang.call('f')
try: erlang.call('g')
except BaseException: pass
try: erlang.call('h')
except BaseException: pass""",
}


@pytest.mark.parametrize("daemon", [True, False])
@pytest.mark.parametrize("name", LEFT)
def test_threads_do_not_keep_a_worker_from_leaving(own: Peer, name: str, daemon: bool) -> None:
    code = f"""
import atexit, threading, erlang
gate = threading.Event()
def work():
{chr(10).join("    " + line for line in LEFT[name].strip().split(chr(10)))}
threads = [threading.Thread(target=work, daemon={daemon}) for _ in range(3)]
for thread in threads: thread.start()"""
    if name == "idle" and not daemon:
        code += "\nthreading._register_atexit(gate.set)"
    own.value(code)
    for _ in range(3):
        own.answer(own.callback("f"), 1)
    if name != "idle":
        for _ in range(3):
            own.callback("g")
    beside = own.beside(RUN, "1")  # leaves a spare thread behind
    assert own.receive_from_any().id == beside
    own.control(SHUTDOWN, 0)
    assert own.exit_status() == 0
    assert own.process.stdout is not None
    assert own.process.stdout.read() == b""


def test_the_main_thread_waits_in_a_callback_at_the_end(own: Peer) -> None:
    number, call = in_callback(own, "the main thread")
    own.control(SHUTDOWN, 0)
    assert own.ping()["running"] == number
    nested = own.nest(call, RUN, "5")
    assert own.receive().id == nested
    own.answer(call, 6)
    assert own.end(number).body == 6
    assert own.exit_status() == 0


def test_a_worker_whose_connections_are_reset_leaves_in_order(worker: Peer) -> None:
    worker.beside(RUN, "import erlang; erlang.call('a')")
    worker.callback("a")
    worker.value("import erlang\nasync def f(): await erlang.acall('b')")
    worker.begin_code(RUN, "f()")
    assert worker.receive().type == DETACHED
    worker.callback("b")
    worker.begin_code(RUN, "erlang.call('c')")
    worker.callback("c")
    worker.router.close(linger=0)
    assert worker.exit_status() == 0
    assert worker.process.stdout is not None
    assert worker.process.stdout.read() == b""


def test_a_worker_whose_beam_has_gone_leaves_a_callback(own: Peer) -> None:
    begin(own, working("the main thread", "erlang.call('f')"))
    own.callback()
    own.process.stdin.close()  # type: ignore[union-attr]
    assert own.exit_status() is not None
