"""Forked and spawned children of a worker, which have no BEAM to call."""

from __future__ import annotations

import pytest

from calling import begin, in_callback, working
from peer import RESULT, RUN, Peer


def test_a_forked_child_has_nobody_to_call(own: Peer) -> None:
    code = """
import erlang, os, sys
def child():
    try:
        erlang.call('f')
    except RuntimeError as error:
        os._exit(42 if "child" in str(error) else 1)
pid = os.fork()
if pid == 0: child()
os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"""
    assert own.value(code) == 42


CALLS = {
    "call": "erlang.call, ('f',)",
    "cast": "erlang.cast, ('f',)",
    "attribute": "getattr, (erlang, 'f')",
    "a name": "erlang.send, ('a', 1)",
    "state": "erlang.state_get, ('k',)",
    "acall": "asyncio.run, (erlang.acall('f'),)",
}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver", "executor"])
@pytest.mark.parametrize("call", ["call", "cast", "a name"])
def test_children_of_multiprocessing_are_told_at_once(own: Peer, method: str, call: str) -> None:
    code = f"""
import concurrent.futures, erlang, multiprocessing, warnings
warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads
function, args = {CALLS[call]}
try:
    if {method!r} == "executor":
        with concurrent.futures.ProcessPoolExecutor(1) as pool: pool.submit(function, *args).result()
    else:
        with multiprocessing.get_context({method!r}).Pool(1) as pool: pool.apply(function, args)
    out = None
except RuntimeError as error:
    out = str(error)
out"""
    assert "or a child of one: it has no Elixir to call; let it return" in own.value(code)
    assert own.nothing_waits()
    assert own.value("1 + 1") == 2


@pytest.mark.parametrize("call", CALLS)
def test_a_forked_child_leaves_the_callbacks_of_its_parent_alone(own: Peer, call: str) -> None:
    number = begin(
        own,
        working(
            "a thread",
            f"""
import asyncio, os
before = erlang.call('before')
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    try:
        function, args = {CALLS[call]}
        function(*args)
    except BaseException as error:
        os.write(write, str(error).encode())
    os._exit(0)
os.waitpid(pid, 0)
return [before, os.read(read, 1000), erlang.call('after')]""",
        ),
    )
    own.answer(own.callback("before"), 1)
    own.answer(own.callback("after"), 2)
    before, said, after = own.end(number).body
    assert (before, after) == (1, 2)
    assert b"no worker of erlang_python" in bytes(said)


def test_a_forked_child_is_no_worker(own: Peer) -> None:
    code = """
import erlang, os, pickle
pid = os.fork()
if pid == 0:
    erlang.progress(1, 2)
    with erlang.Span("s"): pass
    same = pickle.loads(pickle.dumps(len)) is len
    os._exit(42 if same and erlang.current_request() is None and not hasattr(erlang, "f") else 1)
os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"""
    assert own.value(code) == 42
    assert own.nothing_waits()


def test_a_fork_while_threads_wait_in_callbacks(own: Peer) -> None:
    code = """
import erlang, os, threading
def work(): erlang.call('f'); out.append(erlang.call('g'))
out = []
thread = threading.Thread(target=work); thread.start()"""
    own.value(code)
    own.answer(own.callback(), 1)
    waiting = own.callback()
    # The child's end as a script's, and as that of multiprocessing.
    for end in ("os._exit(7)", "raise SystemExit(7)"):
        status = own.value(f"""
pid = os.fork()
if pid == 0:
    {end}
os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])""")
        assert status == 7
    own.answer(waiting, 2)
    assert own.value("thread.join(); out") == [2]


def test_a_nested_request_may_fork(own: Peer) -> None:
    number, call = in_callback(own, "a thread")
    code = "import os\npid = os.fork()\nif pid == 0: raise SystemExit(9)\nos.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"
    nested = own.nest(call, RUN, code)
    end = own.receive(call.channel)
    assert (end.type, end.id, end.body) == (RESULT, nested, 9)
    own.answer(call, 1)
    assert own.end(number).body == 1
