"""Forked and spawned children of a worker: they call Elixir on connections of their own."""

from __future__ import annotations

import os
import signal
from typing import Any, Callable

import pytest

from calling import HALT, ITERATOR, begin, in_callback, working
from peer import CALLBACK, CAST, RESULT, RUN, SEND, SERVICE, Callback, Peer

# What a child calls, the message that comes of it, and its body without the request.
PICKLED: dict[str, tuple[str, int, list[Any]]] = {
    "call": ("erlang.call, ('f', 1)", CALLBACK, ["f", [1], None]),
    "cast": ("erlang.cast, ('f', 1)", CAST, ["f", [1], None]),
    "a name": ("erlang.send, ('a', 1)", SERVICE, ["send", ["a", 1]]),
    "state": ("erlang.state_get, ('k',)", SERVICE, ["state_get", ["k"]]),
}
CALLS = PICKLED | {
    "attribute": ("getattr, (erlang, 'f')", SERVICE, ["registered", ["f"]]),
    "acall": ("asyncio.run, (erlang.acall('f', 1),)", CALLBACK, ["f", [1], None]),
}
ANSWERS = {"attribute": True, "a name": None, "state": [True, 42]}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver", "executor"])
@pytest.mark.parametrize("call", PICKLED)
def test_children_of_multiprocessing_call(own: Peer, method: str, call: str) -> None:
    target, kind, body = PICKLED[call]
    number = begin(
        own,
        f"""
import concurrent.futures, erlang, multiprocessing, warnings
warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads
function, args = {target}
if {method!r} == "executor":
    with concurrent.futures.ProcessPoolExecutor(1) as pool: out = pool.submit(function, *args).result()
else:
    with multiprocessing.get_context({method!r}).Pool(1) as pool: out = pool.apply(function, args)
str(out)""",
    )
    message = own.receive_from_child()
    assert (message.type, message.body) == (kind, [number, *body])
    if kind != CAST:
        own.answer(Callback(message), ANSWERS.get(call, 42))
    assert own.end(number).body == ("42" if call in ("call", "state") else "None")
    assert own.nothing_waits()


@pytest.mark.parametrize("call", CALLS)
def test_a_forked_child_leaves_the_callbacks_of_its_parent_alone(own: Peer, call: str) -> None:
    target, kind, body = CALLS[call]
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
        function, args = {target}
        os.write(write, repr(function(*args)).encode())
    except BaseException as error:
        os.write(write, repr(error).encode())
    os._exit(0)
os.waitpid(pid, 0)
return [before, os.read(read, 1000), erlang.call('after')]""",
        ),
    )
    own.answer(own.callback("before"), 1)
    message = own.receive_from_child()
    assert (message.type, message.body) == (kind, [number, *body])
    if kind != CAST:
        own.answer(Callback(message), ANSWERS.get(call, 42))
    own.answer(own.callback("after"), 2)
    before, said, after = own.end(number).body
    assert (before, after) == (1, 2)
    assert bytes(said) in (b"42", b"None", b"<erlang function f>")


def test_a_child_has_a_channel_for_each_thread(own: Peer) -> None:
    number = begin(
        own,
        """
import erlang, os, sys, threading
pid = os.fork()
if pid == 0:
    sys.setswitchinterval(1e-6)
    here = threading.Barrier(8)
    def twice(number):
        here.wait()
        erlang.call("first", number)
        erlang.call("second", number)
    threads = [threading.Thread(target=twice, args=(number,)) for number in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    os._exit(42)
os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])""",
    )
    channels: "dict[str, dict[int, str]]" = {"first": {}, "second": {}}
    for _ in range(16):
        call = own.callback()
        channels[call.function][call.args[0]] = call.channel
        own.answer(call)
    assert channels["first"] == channels["second"]
    assert len(set(channels["first"].values())) == 8
    assert own.end(number).body == 42


def test_a_grandchild_has_a_channel_of_its_own(own: Peer) -> None:
    number = begin(
        own,
        """
import erlang, os
def forked(function):
    pid = os.fork()
    if pid == 0: os._exit(function())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
def child():
    before = erlang.call("child")
    return before + forked(lambda: erlang.call("grandchild")) + erlang.call("child")
forked(child)""",
    )
    before = own.callback("child")
    own.answer(before, 1)
    grandchild = own.callback("grandchild")
    own.answer(grandchild, 2)
    after = own.callback("child")
    own.answer(after, 4)
    assert before.channel == after.channel != grandchild.channel
    assert own.end(number).body == 7


def test_a_child_calls_on_behalf_of_its_context(worker: Peer) -> None:
    number = worker.begin(
        RUN,
        [
            "import os\npid = os.fork()\nif pid == 0: os._exit(erlang.call('f'))\n"
            "os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])",
            None,
            None,
            1,
            0,
            7,
        ],
    )
    message = worker.receive_from_child()
    assert message.body == [number, "f", [], None, None, 7]
    worker.answer(Callback(message), 9)
    assert worker.end(number).body == 9


def test_an_interrupted_call_gives_its_channel_up(own: Peer) -> None:
    number = begin(
        own,
        """
import erlang, os
pid = os.fork()
if pid == 0:
    try: erlang.call("f", os.getpid())
    except KeyboardInterrupt: pass
    os._exit(erlang.call("g"))
os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])""",
    )
    first = own.callback("f")
    os.kill(first.args[0], signal.SIGINT)
    second = own.callback("g")
    assert first.channel != second.channel
    own.answer(second, 42)
    assert own.end(number).body == 42


def test_a_forked_child_does_not_halt_the_iterators_of_its_parent(own: Peer) -> None:
    code = """
import erlang, os
pid = os.fork()
if pid == 0:
    erlang.cast("f")
    items.__del__()  # bindings are held from elsewhere too
    erlang.cast("g")
    erlang.call("h")
    os._exit(0)
os.waitpid(pid, 0)
list(items)"""
    number = own.begin(RUN, [code, {"items": ITERATOR}, None, 1, 0])
    # A halt would follow the second.
    assert [own.receive_from_child().body[1] for _ in range(2)] == ["f", "g"]
    own.answer(Callback(own.receive_from_child()))
    own.answer(own.callback("next"), [[1, 2], True])
    assert own.end(number).body == [1, 2]


def test_a_child_halts_its_own_iterators(own: Peer) -> None:
    number = begin(
        own,
        """
import erlang, os
pid = os.fork()
if pid == 0:
    erlang.call("f")
    erlang.cast("g")
    os._exit(0)
os.waitpid(pid, 0)
0""",
    )
    own.answer(own.callback("f"), ITERATOR)
    assert own.receive_from_child().type == CAST
    halt = own.receive_from_child()
    assert (halt.type, halt.body[1]) == (SEND, HALT)
    assert own.end(number).body == 0


def test_only_its_children_have_what_a_worker_has(own: Peer) -> None:
    code = """
import subprocess, sys
program = "import sys; sys.path[:] = %r; import erlang; erlang.call('f')" % (sys.path,)
subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stderr"""
    assert "no child that one has made by os.fork or multiprocessing" in own.value(code)
    assert own.nothing_waits()


def test_a_forked_child_is_no_worker(own: Peer) -> None:
    code = """
import erlang, os, pickle
pid = os.fork()
if pid == 0:
    erlang.progress(1, 2)
    with erlang.Span("s"): pass
    same = pickle.loads(pickle.dumps(len)) is len
    os._exit(42 if same and erlang.current_request() is None else 1)
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


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_a_child_prints_and_logs_goes_where_its_worker_prints(
    start: Callable[..., Peer], method: str
) -> None:
    worker = start()
    worker.set_up(stdout="caller")
    number = begin(
        worker,
        f"""
import functools, logging, multiprocessing
context = multiprocessing.get_context({method!r})
for function in (functools.partial(print, flush=True), logging.warning):
    process = context.Process(target=function, args=("from a child",))
    process.start(); process.join()
process.exitcode""",
    )
    worker.wait_line(b"from a child")
    worker.wait_line(b"from a child" if method == "fork" else b"WARNING:root:from a child")
    assert worker.end(number).body == 0
    assert worker.nothing_waits()


def test_a_child_takes_from_an_iterator_in_which_a_thread_of_its_parent_waits(own: Peer) -> None:
    number = begin(
        own,
        """
import erlang, os, threading
items = erlang.call('items')
thread = threading.Thread(target=next, args=(items,)); thread.start()
erlang.call('forks')
pid = os.fork()
if pid == 0: os._exit(next(items))
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
erlang.call('joins')
thread.join()
code""",
    )
    own.answer(own.callback("items"), ITERATOR)
    # The thread holds the iterator for as long as this has no answer.
    of_parent = own.callback("next")
    own.answer(own.callback("forks"))
    of_child = own.callback("next")
    own.answer(of_child, [[42], False])
    joins = own.callback("joins")
    own.answer(of_parent, [[1], True])
    own.answer(joins)
    assert own.end(number).body == 42
