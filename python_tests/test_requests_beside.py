"""Requests that run beside a main thread that waits in a callback, and those that move there."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import Any, Callable

import msgpack
import pytest

from calling import begin, in_callback, working
from peer import BOOTSTRAP, CALL, DETACHED, ERROR, MOVE, RESULT, RUN, Failure, Peer

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def test_requests_on_the_control_channel_run_beside_the_main_thread(shared: Peer) -> None:
    number, call = in_callback(shared, "the main thread")
    code = "import threading, time\n[threading.current_thread() is threading.main_thread(), erlang.current_request().id]"
    for _ in range(3):
        beside = shared.beside(RUN, code)
        end = shared.receive_from_any()
        assert (end.type, end.id, end.body) == (RESULT, beside, [False, beside])
        assert end.channel.startswith("/t")
    shared.answer(call, 1)
    assert shared.end(number).body == 1


def code_body(code: str) -> list[Any]:
    return [code, None, None, 1, 0]


def test_a_request_that_moves_runs_once_beside_the_main_thread(shared: Peer) -> None:
    code = code_body("import threading\nthreading.current_thread() is threading.main_thread()")
    number, call = in_callback(shared, "a thread")
    # The main thread joins another, and does not read this.
    moved = shared.begin(RUN, code)
    shared.control(MOVE, moved)
    shared.control(RUN, moved, code)
    end = shared.receive_from_any()
    assert (end.type, end.id, end.body) == (RESULT, moved, False)
    shared.answer(call, 1)
    assert shared.end(number).body == 1
    assert shared.value("1") == 1


def test_a_request_that_has_begun_does_not_move(shared: Peer) -> None:
    code = code_body("globals().update(runs=globals().get('runs', 0) + 1)\nerlang.call('f')")
    number = shared.begin(RUN, code)
    call = shared.callback()

    def move() -> None:
        shared.control(MOVE, number)
        shared.control(RUN, number, code)
        shared.ping()

    move()  # while it runs
    shared.answer(call, 1)
    assert shared.end(number).type == RESULT
    move()
    assert shared.value("runs") == 1


def test_a_request_that_moves_can_be_revoked(shared: Peer) -> None:
    number, call = in_callback(shared, "a thread")
    moved = shared.begin(RUN, code_body("print('never')"))
    shared.control(MOVE, moved)
    assert shared.cancel(moved) == "revoked"
    shared.control(RUN, moved, code_body("print('never')"))
    beside = shared.beside(RUN, "2")
    assert shared.receive_from_any().id == beside
    shared.answer(call, 1)
    assert shared.end(number).body == 1


def test_one_taken_back_from_the_main_thread_runs_beside_it(shared: Peer) -> None:
    number, call = in_callback(shared, "the main thread")
    behind = shared.begin(RUN, code_body("'in the main thread'"))
    assert shared.cancel(behind, interrupt=False) == "revoked"
    # That takes back the frame on the main channel, which has not been read so far; not this one.
    shared.control(RUN, behind, code_body("'beside'"))
    assert shared.receive_from_any().body == "beside"
    shared.answer(call, 1)
    assert shared.end(number).body == 1
    assert shared.value("2") == 2
    assert shared.nothing_waits()


def test_a_module_that_another_thread_imports_is_waited_for(own: Peer, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    text = f"print('in', flush=True)\nopen({str(go)!r}).read()\ndef f(): return 7\n"
    (tmp_path / "a_slow_module").with_suffix(".py").write_text(text)
    code = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport a_slow_module\n8"
    number = begin(own, code)
    own.wait_line(b"in")
    called = own.begin_id()
    own.control(CALL, called, ["a_slow_module", "f", [], None, 0])
    other = own.beside(RUN, "9")
    assert own.receive_from_any().id == other
    go.write_text("")
    ends = {end.id: end.body for end in (own.receive_from_any() for _ in range(2))}
    assert ends == {number: 8, called: 7}


def test_many_at_once_run_beside_each_other(own: Peer) -> None:
    code = "gate.wait()\nstays = 'here'\nerlang.call('f', n)"
    own.value("import threading, erlang\ngate = threading.Barrier(20)\nn = 'own'")
    numbers = [own.beside(RUN, code, n=n) for n in range(20)]
    calls = [own.callback() for _ in numbers]
    for call in calls:
        assert numbers[call.args[0]] == call.parent
        own.answer(call, call.args[0])
    ends = {end.id: end.body for end in (own.receive_from_any() for _ in numbers)}
    assert ends == {number: n for n, number in enumerate(numbers)}
    # Each had bindings of its own; what they assigned stays.
    assert own.value("[n, stays]") == ["own", "here"]


def test_recursions_in_many_threads_leave_the_limit_as_it_was(own: Peer) -> None:
    own.value("import sys\nsys.setswitchinterval(1e-5)\ndef deep(): return deep()")
    before = None
    for _ in range(3):
        numbers = {own.beside(RUN, "deep()") for _ in range(8)}
        ends = [own.receive_from_any() for _ in numbers]
        assert {end.id for end in ends} == numbers
        assert {Failure(end.error[1]).type for end in ends} == {"RecursionError"}
        # The first threads raise it for what is nested in them.
        limit = own.value("sys.getrecursionlimit()")
        assert before in (None, limit)
        before = limit


def test_requests_and_callbacks_carry_large_data_beside_the_body(shared: Peer) -> None:
    data = bytes(range(256)) * 1_000
    beside = shared.beside(RUN, "import erlang\nerlang.call('f', data + b'1', 2)[:-1]", data=data)
    call = shared.callback()
    assert call.args == [msgpack.ExtType(6, struct.pack(">BI", 1, 0)), 2]
    assert call.buffers == [data + b"1"]
    shared.answer(call, msgpack.ExtType(6, struct.pack(">BI", 1, 0)), buffers=[data + b"12"])
    end = shared.receive_from_any()
    assert (end.id, end.buffers) == (beside, [data + b"1"])


def test_a_thread_that_can_not_be_started_is_an_error(own: Peer) -> None:
    own.value("import threading\nthreading.stack_size(1 << 46)")
    beside = own.beside(RUN, "1")
    end = own.receive("/control")
    assert (end.type, end.id) == (ERROR, beside)
    assert Failure(end.error[1]).type == "RuntimeError"
    own.value("threading.stack_size(0)")
    beside = own.beside(RUN, "1")
    assert own.receive_from_any().body == 1


# Leaves so many descriptors.
SHORT = """
import os, resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir('/dev/fd')) + 10, hard))
files = []
try:
    while True: files.append(open('/dev/null'))
except OSError: pass
del files[:{left}]"""
ENOUGH = "files.clear()\nresource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))"


# The loop takes three, its channel one.
@pytest.mark.parametrize("left", [1, 3])
def test_an_event_loop_that_can_not_be_started_is_an_error(worker: Peer, left: int) -> None:
    worker.value("import asyncio\nasync def f(): return 5\n" + SHORT.format(left=left))
    assert Failure(worker.code(RUN, "f()").error[1]).type == "OSError"
    worker.value(ENOUGH)
    number = worker.begin_code(RUN, "f()")
    messages = [worker.receive_from_any() for _ in range(2)]
    assert [(m.id, m.body) for m in messages if m.type != DETACHED] == [(number, 5)]


def test_a_channel_that_can_not_be_opened_is_an_error(start: Callable[..., Peer]) -> None:
    peer = start()
    peer.set_up()
    peer.value(SHORT.format(left=0))
    beside = peer.beside(RUN, "1")
    end = peer.receive("/control")
    assert (end.type, end.id) == (ERROR, beside)
    assert Failure(end.error[1]).type == "OSError"
    body = "try: erlang.call('f')\nexcept OSError as e: return 'no file'"
    assert peer.value(working("a thread", body)) == "no file"
    peer.value(ENOUGH)
    beside = peer.beside(RUN, "1")
    assert peer.receive_from_any().body == 1


def test_threads_that_enter_a_context_at_the_same_time_share_it(shared: Peer) -> None:
    shared.value("import sys; before = sys.getswitchinterval(); sys.setswitchinterval(1e-6)")
    number, call = in_callback(shared, "the main thread")

    def beside(code: str, context: int) -> int:
        request = shared.begin_id()
        shared.control(RUN, request, [*code_body(code), context])
        return request

    for context in range(1_000, 1_200):
        begun = {beside(f"x{thread} = {thread}", context) for thread in range(4)}
        assert {shared.receive_from_any().id for _ in range(4)} == begun
        beside("[x0, x1, x2, x3]", context)
        assert shared.receive_from_any().body == [0, 1, 2, 3]
    shared.answer(call, 1)
    assert shared.end(number).body == 1
    shared.value("sys.setswitchinterval(before)")


def test_threads_of_an_executor_work_for_whoever_submits(start: Callable[..., Peer]) -> None:
    # As free-threaded Pythons do by themselves; before 3.14 it has no meaning.
    command = [sys.executable, "-X", "thread_inherit_context=1", str(BOOTSTRAP)]
    worker = start(command=command)
    worker.set_up()
    worker.value("from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(1)")
    number, call = in_callback(worker, "the main thread")
    for _ in range(2):
        code = "pool.submit(lambda: erlang.current_request().id).result()"
        request = worker.beside(RUN, code)
        assert worker.receive_from_any().body == request
    worker.answer(call, 1)
    assert worker.end(number).body == 1
