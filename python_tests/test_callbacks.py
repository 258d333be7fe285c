"""Calls from Python into the BEAM, whose part the peer plays."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import msgpack
import pytest

from peer import (
    CALL,
    CALLBACK,
    CANCELLED,
    CAST,
    DETACHED,
    ERROR,
    EVAL,
    EXEC,
    MOVE,
    RESULT,
    RUN,
    SEND,
    SERVICE,
    SHUTDOWN,
    Callback,
    Failure,
    Peer,
)

# As the BEAM sends them; the worker can't tell a seal that is none.
PID = msgpack.ExtType(
    4, bytes(16) + b"\x83X" + b"w\x0dnonode@nohost" + struct.pack(">III", 107, 0, 0)
)
ITERATOR = msgpack.ExtType(12, PID.data)
HALT = msgpack.ExtType(1, b"halt")
FUN = msgpack.ExtType(5, bytes(16) + b"\x83p" + bytes(20))
TERM = msgpack.ExtType(4, bytes(16) + b"\x83h\x00")


@pytest.fixture(params=["direct", "pyzmq"])
def own(request: pytest.FixtureRequest, start: Callable[..., Peer]) -> Peer:
    """A worker for one test, by each kind of channel."""
    peer = start(channels=request.param)
    peer.set_up()
    return peer


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "shared" in request.fixturenames:
        peer = request.getfixturevalue("shared")
        assert peer.nothing_waits()


CODE = {
    "the main thread": "out = work()",
    "a thread": """
import threading
def body():
    global out
    out = work()
thread = threading.Thread(target=body); thread.start(); thread.join()""",
    "a pool of threads": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(2) as threads: out = threads.submit(work).result()""",
    "a callback of a C library": """
import ctypes
libc = ctypes.CDLL(None)
out = []
@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
def compare(a, b):
    out.append(work())
    return 0
libc.qsort((ctypes.c_int * 2)(), 2, 4, compare)
out = out[0]""",
    "a thread of a C library": """
import ctypes
libc = ctypes.CDLL(None)
out = []
@ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
def body(_):
    out.append(work())
thread = ctypes.c_ulong()
assert libc.pthread_create(ctypes.byref(thread), None, body, None) == 0
libc.pthread_join(thread, None)
out = out[0]""",
}
# The statements of a test as a function `work`, run where a name of CODE says; its value is the request's.
WHERE = pytest.mark.parametrize("where", CODE)


def working(where: str, body: str) -> str:
    lines = "\n".join("    " + line for line in body.strip().split("\n"))
    return f"import erlang\ndef work():\n{lines}\n{CODE[where]}\nout"


def begin(peer: Peer, code: str, **bindings: Any) -> int:
    return peer.begin(RUN, [code, bindings or None, None, 1, 0])


@WHERE
def test_a_callback_is_answered(shared: Peer, where: str) -> None:
    number = begin(shared, working(where, "return erlang.call('add', 1, [2], x={'y': 3})"))
    call = shared.callback()
    assert (call.type, call.parent) == (
        CALLBACK,
        0 if where == "a thread of a C library" else number,
    )
    assert (call.function, call.args, call.kwargs) == ("add", [1, [2]], {"x": {"y": 3}})
    # Main thread callbacks come on the main channel, each other thread's on one of its own.
    main = where in ("the main thread", "a callback of a C library")
    assert (call.channel == "") == main
    assert call.channel == "" or call.channel.startswith("/t")
    shared.answer(call, {"sum": 3})
    assert shared.end(number).body == {"sum": 3}


@WHERE
def test_a_nested_request_runs_in_the_thread_that_waits(shared: Peer, where: str) -> None:
    body = """
import threading
here = threading.get_ident()
return [here, erlang.call('f'), erlang.current_request() and erlang.current_request().id]"""
    number = begin(shared, working(where, body))
    call = shared.callback()
    nested = shared.nest(
        call, RUN, "import threading\n[threading.get_ident(), erlang.current_request().id]"
    )
    end = shared.receive(call.channel)
    assert (end.type, end.id) == (RESULT, nested)
    there, current = end.body
    assert current == nested
    shared.answer(call, there)
    first, second, outer = shared.end(number).body
    assert first == second
    assert outer == (None if where == "a thread of a C library" else number)


@WHERE
def test_nesting_goes_deep(shared: Peer, where: str) -> None:
    number = begin(shared, working(where, "return erlang.call('f', 0)"))
    calls: list[Callback] = []
    nested: list[int] = []
    for depth in range(1, 61):
        call = shared.callback()
        assert call.args == [depth - 1]
        assert not nested or call.parent == nested[-1]
        calls.append(call)
        nested.append(shared.nest(call, RUN, f"erlang.call('f', {depth})"))
    last = shared.callback()
    shared.answer(last, 0)
    for call, request in zip(reversed(calls), reversed(nested)):
        end = shared.receive(call.channel)
        assert (end.type, end.id) == (RESULT, request)
        shared.answer(call, end.body + 1)
    assert shared.end(number).body == 60


def test_other_requests_wait_until_the_main_thread_is_back(shared: Peer) -> None:
    number = begin(shared, working("the main thread", "return erlang.call('f')"))
    call = shared.callback()
    others = [shared.begin(EVAL, [f"{n} + 1", None, None, 1, 0]) for n in range(3)]
    nested = shared.nest(call, RUN, "'nested'")
    assert shared.receive().id == nested
    shared.answer(call, 7)
    assert shared.end(number).body == 7
    assert [shared.end(other).body for other in others] == [1, 2, 3]


def test_one_that_waits_can_be_revoked(shared: Peer) -> None:
    number = begin(shared, working("the main thread", "return erlang.call('f')"))
    call = shared.callback()
    other = shared.begin_code(EXEC, "print('never')")
    assert shared.cancel(other) == "revoked"
    nested = shared.begin_id()
    assert shared.cancel(nested) == "revoked"
    shared.nest(call, RUN, "print('never')", number=nested)
    shared.answer(call, 7)
    assert shared.end(number).body == 7


def test_requests_on_the_control_channel_run_beside_the_main_thread(shared: Peer) -> None:
    number = begin(shared, working("the main thread", "return erlang.call('f')"))
    call = shared.callback()
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
    number = begin(shared, working("a thread", "return erlang.call('f')"))
    call = shared.callback()
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
    number = begin(shared, working("a thread", "return erlang.call('f')"))
    call = shared.callback()
    moved = shared.begin(RUN, code_body("print('never')"))
    shared.control(MOVE, moved)
    assert shared.cancel(moved) == "revoked"
    shared.control(RUN, moved, code_body("print('never')"))
    beside = shared.beside(RUN, "2")
    assert shared.receive_from_any().id == beside
    shared.answer(call, 1)
    assert shared.end(number).body == 1


def test_one_taken_back_from_the_main_thread_runs_beside_it(shared: Peer) -> None:
    number = begin(shared, working("the main thread", "return erlang.call('f')"))
    call = shared.callback()
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


def test_requests_and_callbacks_carry_large_data_beside_the_body(shared: Peer) -> None:
    data = bytes(range(256)) * 1_000
    beside = shared.beside(RUN, "import erlang\nerlang.call('f', data + b'1', 2)[:-1]", data=data)
    call = shared.callback()
    assert call.args == [msgpack.ExtType(6, struct.pack(">BI", 1, 0)), 2]
    assert call.buffers == [data + b"1"]
    shared.answer(call, msgpack.ExtType(6, struct.pack(">BI", 1, 0)), buffers=[data + b"12"])
    end = shared.receive_from_any()
    assert (end.id, end.buffers) == (beside, [data + b"1"])


def test_late_answers_are_dropped(shared: Peer) -> None:
    number = begin(
        shared, working("the main thread", "return [erlang.call('f'), erlang.call('g')]")
    )
    f = shared.callback()
    shared.answer(f, 1)
    g = shared.callback()
    shared.answer(f, "again")
    shared.answer(g, 2)
    shared.answer(g, "late")
    assert shared.end(number).body == [1, 2]
    assert shared.value("1") == 1


def test_late_answers_in_a_thread_are_dropped(shared: Peer) -> None:
    number = begin(shared, working("a thread", "return [erlang.call('f'), erlang.call('g')]"))
    f = shared.callback()
    shared.answer(f, 1)
    g = shared.callback()
    assert g.channel == f.channel
    shared.answer(f, "again")
    shared.answer(g, 2)
    assert shared.end(number).body == [1, 2]


def test_a_request_that_waits_in_a_callback_is_interrupted(shared: Peer) -> None:
    for _ in range(20):
        number = begin(shared, working("the main thread", "erlang.call('f')"))
        call = shared.callback()
        assert shared.cancel(number) == "running"
        assert shared.end(number).type == CANCELLED
        shared.answer(call, 1)  # too late
    assert shared.value("1") == 1


def test_a_buried_request_is_interrupted_when_it_is_on_top_again(shared: Peer) -> None:
    body = """
try:
    erlang.call('f')
except BaseException as error:
    return type(error).__name__"""
    number = begin(shared, working("the main thread", body))
    f = shared.callback()
    nested = shared.nest(f, RUN, "erlang.call('g')")
    g = shared.callback()
    assert shared.cancel(number) == "running"
    shared.answer(g, "goes on")
    end = shared.receive()
    assert (end.type, end.id, end.body) == (RESULT, nested, "goes on")
    assert shared.end(number).body == "Interrupted"
    shared.answer(f, 1)
    assert shared.value("1") == 1


def test_a_nested_request_is_interrupted_and_the_one_beneath_goes_on(shared: Peer) -> None:
    number = begin(shared, working("the main thread", "return erlang.call('f')"))
    f = shared.callback()
    nested = shared.nest(f, RUN, "print('in')\nwhile True: pass")
    shared.wait_line(b"in")
    assert shared.cancel(nested) == "running"
    end = shared.receive()
    assert (end.type, end.id) == (CANCELLED, nested)
    shared.answer(f, 1)
    assert shared.end(number).body == 1


def test_both_levels_are_interrupted(shared: Peer) -> None:
    number = begin(shared, working("the main thread", "return erlang.call('f')"))
    f = shared.callback()
    nested = shared.nest(f, RUN, "import time\nprint('in')\ntime.sleep(60)")
    shared.wait_line(b"in")
    assert shared.cancel(number) == "running"
    assert shared.cancel(nested) == "running"
    ends = [shared.receive(), shared.receive()]
    assert [(end.type, end.id) for end in ends] == [(CANCELLED, nested), (CANCELLED, number)]


def test_code_goes_on_calling_after_it_was_interrupted(shared: Peer) -> None:
    body = """
try:
    erlang.call('f')
except BaseException:
    return erlang.call('g')"""
    number = begin(shared, working("the main thread", body))
    f = shared.callback()
    shared.cancel(number)
    g = shared.callback()
    shared.answer(f, "late")
    shared.answer(g, 2)
    assert shared.end(number).body == 2


def test_a_cancelled_request_in_a_thread_is_told_so(shared: Peer) -> None:
    code = "import erlang\nerlang.call('f')\nerlang.current_request().cancelled"
    beside = shared.beside(RUN, code)
    call = shared.callback()
    assert shared.cancel(beside) == "running"
    shared.answer(call, 1)
    end = shared.receive_from_any()
    assert (end.id, end.body) == (beside, True)
    # Its thread may not have noted the end that it has sent.
    assert shared.settles(lambda: shared.cancel(beside) == "done")


ANSWERS = {
    "an exception": (
        ["elixir", ["error", "no good", "** (ArgumentError) no good", TERM, "at x.ex:1"]],
        ["ElixirError", "error", "no good", "** (ArgumentError) no good", "at x.ex:1"],
    ),
    "a throw": (
        ["elixir", ["throw", [1, 2], "** (throw) [1, 2]", TERM, ""]],
        ["ElixirError", "throw", [1, 2], "** (throw) [1, 2]", ""],
    ),
    "an exit": (
        ["elixir", ["exit", None, "** (exit) nil", TERM, ""]],
        ["ElixirError", "exit", None, "** (exit) nil", ""],
    ),
    "unknown": (
        ["unknown", ["no such function"]],
        ["UnknownFunction", "error", "no such function", "no such function", ""],
    ),
    "encode": (["encode", ["what"]], ["ElixirError", "error", "what", "what", ""]),
    "decode": (["decode", ["what"]], ["ElixirError", "error", "what", "what", ""]),
    "too large": (["too_large", ["what"]], ["ElixirError", "error", "what", "what", ""]),
    "type": (["type", ["what"]], ["TypeError", None, None, "what", None]),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("where", ["the main thread", "a thread"])
def test_a_failure_is_raised(shared: Peer, where: str, name: str) -> None:
    answer, expected = ANSWERS[name]
    body = """
try:
    erlang.call('f')
except Exception as e:
    get = lambda name: getattr(e, name, None)
    return [type(e).__name__, get('kind'), get('reason'), str(e), get('stacktrace')]"""
    number = begin(shared, working(where, body))
    shared.answer_error(shared.callback(), answer)
    assert shared.end(number).body == expected


def test_an_uncaught_failure_ends_the_request_with_what_it_held(shared: Peer) -> None:
    number = begin(shared, working("a pool of threads", "erlang.call('f')"))
    shared.answer_error(shared.callback(), ANSWERS["an exception"][0])
    kind, (exception, *rest) = shared.end(number).error
    assert (kind, rest) == ("elixir", ["error", TERM, "at x.ex:1"])
    failure = Failure(exception)
    assert (failure.type, failure.message) == ("erlang.ElixirError", "** (ArgumentError) no good")
    assert "erlang_python_worker" not in failure.formatted


def test_an_answer_that_can_not_be_decoded_is_an_error(shared: Peer) -> None:
    number = begin(shared, working("the main thread", "erlang.call('f')"))
    shared.answer(shared.callback(), raw=b"\xc1")
    kind, payload = shared.end(number).error
    assert kind == "python"
    assert Failure(payload).type == "erlang.ElixirError"
    assert "the answer could not be decoded" in Failure(payload).message


@WHERE
def test_an_answer_may_come_before_what_is_nested_in_its_callback_has_ended(
    shared: Peer, where: str
) -> None:
    number = begin(shared, working(where, "return erlang.call('outer')"))
    outer = shared.callback()
    nested = shared.nest(outer, RUN, "import erlang\nerlang.call('inner')")
    inner = shared.callback()
    # Its process has died, or did not wait for the end.
    shared.answer(outer, 1)
    shared.answer(inner, 2)
    ends = {end.id: end.body for end in (shared.receive_from_any() for _ in range(2))}
    assert ends == {nested: 2, number: 1}


@pytest.mark.parametrize("code", ["erlang.call('f')", "await erlang.acall('f')"])
def test_an_iterator_in_an_answer_for_which_nobody_waits_is_halted(own: Peer, code: str) -> None:
    number = begin(own, "import erlang\n" + code)
    messages = (m for m in iter(own.receive_from_any, None) if m.type != DETACHED)
    call = Callback(next(messages))
    assert own.cancel(number) == "running"
    assert next(messages).type == CANCELLED
    own.answer(call, [ITERATOR])
    halt = next(messages)
    assert (halt.type, halt.body) == (SEND, [PID, HALT])


def test_callables_casts_and_sends(shared: Peer) -> None:
    code = """
import erlang
erlang.cast('tell', 1, x=2)
erlang.cast(f, 3)
erlang.send(pid, ['hello'])
[f(4), callable(f), type(f).__name__]"""
    number = begin(shared, code, f=FUN, pid=PID)
    tell, cast, sent = shared.receive(), shared.receive(), shared.receive()
    assert (tell.type, tell.id, tell.body) == (CAST, 0, [number, "tell", [1], {"x": 2}])
    assert (cast.type, cast.id, cast.body) == (CAST, 0, [number, FUN, [3], None])
    assert (sent.type, sent.id, sent.body) == (SEND, 0, [PID, ["hello"]])
    call = shared.callback()
    assert (call.function, call.args, call.kwargs) == (FUN, [4], None)
    shared.answer(call, 5)
    assert shared.end(number).body == [5, True, "Callable"]


def test_names_are_asked_for_but_never_those_of_python(shared: Peer) -> None:
    code = "import erlang\nfrom erlang import known\n[known(1), hasattr(erlang, 'unknown'), hasattr(erlang, '__test__'), hasattr(erlang, '__wrapped__')]"
    number = begin(shared, code)
    asked = shared.callback()
    assert (asked.type, asked.body) == (SERVICE, [number, "registered", ["known"]])
    shared.answer(asked, True)
    call = shared.callback()
    assert (call.type, call.function) == (CALLBACK, "known")
    shared.answer(call, 1)
    asked = shared.callback()
    assert asked.body == [number, "registered", ["unknown"]]
    shared.answer(asked, False)
    assert shared.end(number).body == [1, False, False, False]


def test_a_name_is_sent_to_by_a_service(shared: Peer) -> None:
    number = begin(shared, "import erlang\nerlang.send('inbox', 1)")
    asked = shared.callback()
    assert (asked.type, asked.body) == (SERVICE, [number, "send", ["inbox", 1]])
    shared.answer_error(asked, ["unknown", ["no process"]])
    assert Failure(shared.end(number).error[1]).type == "erlang.UnknownFunction"


@pytest.mark.parametrize("where", ["the main thread", "a thread"])
@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("erlang.call('f', {'a': [1, object()]})", 'args[0]["a"][1]: '),
        ("erlang.call('f', x=object())", 'kwargs["x"]: '),
        ("erlang.cast('f', object())", "args[0]: "),
        ("erlang.send(pid, [object()])", "message[0]: "),
        ("erlang.send('inbox', object())", "args[1]: "),
        ("erlang.call(1)", "expected the name of a registered function, got 1"),
        ("erlang.cast(print)", "expected the name of a registered function"),
        ("erlang.send(1, 2)", "expected an erlang.Pid or a name, got 1"),
    ],
)
def test_what_can_not_be_sent_is_a_type_error(
    shared: Peer, where: str, call: str, text: str
) -> None:
    body = f"""
try:
    {call}
except TypeError as error:
    return [str(error), erlang.call('g')]"""
    code = working(where, body)
    number = begin(shared, "globals().update(pid=pid)\n" + code, pid=PID)
    g = shared.callback()
    assert g.function == "g"
    shared.answer(g, "fine")
    message, after = shared.end(number).body
    assert text in message
    assert after == "fine"


def test_arguments_may_be_too_large(start: Callable[..., Peer]) -> None:
    peer = start()
    peer.set_up(max_message_size=1000)
    body = """
try:
    erlang.call('f', 'x' * 1000)
except ValueError as error:
    return str(error)"""
    assert "the pool's :max_message_size is 1000" in peer.value(working("a thread", body))


def test_an_encoder_may_call_back(shared: Peer) -> None:
    code = """
import erlang
class Lazy: pass
erlang.register_encoder(Lazy, lambda lazy: erlang.call('load'))
[erlang.call('f', [Lazy(), Lazy()]), Lazy()]"""
    number = begin(shared, code)
    for n in (1, 2):
        load = shared.callback()
        assert load.function == "load"
        nested = shared.nest(load, RUN, "[1, {2}, 'x' * 100]")
        assert shared.receive().id == nested
        shared.answer(load, n)
    f = shared.callback()
    assert (f.function, f.args) == ("f", [[1, 2]])
    shared.answer(f, 3)
    load = shared.callback()
    nested = shared.nest(load, RUN, "[1, 'x' * 100]")
    assert shared.receive().id == nested
    shared.answer(load, 4)
    assert shared.end(number).body == [3, 4]


def test_a_finalizer_and_a_signal_handler_may_call_back(shared: Peer) -> None:
    code = """
import erlang, signal
def handle(number, frame): erlang.cast('signal')
signal.signal(signal.SIGUSR1, handle)
class Object:
    def __del__(self): erlang.cast('gone')
def attempt():
    one = Object(); one.self = one
    signal.raise_signal(signal.SIGUSR1)
attempt()
import gc; gc.collect()"""
    number = begin(shared, code)
    assert [shared.receive().body[1] for _ in range(2)] == ["signal", "gone"]
    assert shared.end(number).type == RESULT


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
    number = begin(own, working("the main thread", "return erlang.call('f')"))
    call = own.callback()
    own.control(SHUTDOWN, 0)
    assert own.ping()["running"] == number
    nested = own.nest(call, RUN, "5")
    assert own.receive().id == nested
    own.answer(call, 6)
    assert own.end(number).body == 6
    assert own.exit_status() == 0


def test_a_worker_whose_beam_has_gone_leaves_a_callback(own: Peer) -> None:
    begin(own, working("the main thread", "erlang.call('f')"))
    own.callback()
    own.process.stdin.close()  # type: ignore[union-attr]
    assert own.exit_status() is not None


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
    number = begin(own, working("a thread", "return erlang.call('f')"))
    call = own.callback()
    code = "import os\npid = os.fork()\nif pid == 0: raise SystemExit(9)\nos.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"
    nested = own.nest(call, RUN, code)
    end = own.receive(call.channel)
    assert (end.type, end.id, end.body) == (RESULT, nested, 9)
    own.answer(call, 1)
    assert own.end(number).body == 1


@pytest.mark.parametrize("where", ["the main thread", "a thread"])
def test_recursion_without_end_is_an_error(own: Peer, where: str) -> None:
    number = begin(own, working(where, "return erlang.call('f')"))
    calls: list[Callback] = []
    while True:
        message = own.receive_from_any()
        if message.type != CALLBACK:
            break
        calls.append(Callback(message))
        own.nest(calls[-1], RUN, "erlang.call('f')")
    assert len(calls) > 150
    while True:
        kind, _payload = message.error
        assert kind in ("python", "elixir")
        if message.id == number:
            break
        call = calls.pop()
        own.answer_error(call, ["elixir", ["error", "deep", "deep", TERM, ""]])
        message = own.receive_from_any()
    assert own.value("1 + 1") == 2


def test_a_thread_that_can_not_be_started_is_an_error(own: Peer) -> None:
    own.value("import threading\nthreading.stack_size(1 << 46)")
    beside = own.beside(RUN, "1")
    end = own.receive("/control")
    assert (end.type, end.id) == (ERROR, beside)
    assert Failure(end.error[1]).type == "RuntimeError"
    own.value("threading.stack_size(0)")
    beside = own.beside(RUN, "1")
    assert own.receive_from_any().body == 1


def test_a_channel_that_can_not_be_opened_is_an_error(start: Callable[..., Peer]) -> None:
    peer = start()
    peer.set_up()
    peer.value("""
import os, resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir('/dev/fd')) + 1, hard))
files = []
try:
    while True: files.append(open('/dev/null'))
except OSError: pass""")
    beside = peer.beside(RUN, "1")
    end = peer.receive("/control")
    assert (end.type, end.id) == (ERROR, beside)
    assert Failure(end.error[1]).type == "OSError"
    body = "try: erlang.call('f')\nexcept OSError as e: return 'no file'"
    assert peer.value(working("a thread", body)) == "no file"
    peer.value("files.clear()\nresource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))")
    beside = peer.beside(RUN, "1")
    assert peer.receive_from_any().body == 1
