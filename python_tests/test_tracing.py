"""Traces: docs/protocol.md, "Traces", with Python's real OpenTelemetry."""

from __future__ import annotations

import struct
import time
from typing import Any

import msgpack
import pytest

import vectors
from peer import (
    CALLBACK,
    CANCELLED,
    CAST,
    ERROR,
    MOVE,
    NESTED,
    OPENED,
    PULL,
    RESULT,
    RUN,
    STREAM_EVAL,
    Callback,
    Failure,
    Message,
    Peer,
)

TRACED, TIMED, SPANS, DETACHED = 0x0E, 0x20, 0x10, 0x17
TIMED_MODE, RECORDED, BOTH, STATED = 1, 2, 3, 4
TRACE = bytes(range(1, 17))
ABOVE = b"aboveabo"


def traced(
    peer: Peer,
    body: Any,
    kind: int = RUN,
    mode: int = BOTH,
    trace: bytes = TRACE,
    above: bytes = ABOVE,
    flags: int = 1,
    state: str = "",
) -> int:
    number = peer.begin_id()
    packed = struct.pack(">H", len(state)) + state.encode() if state else b""
    mode |= STATED if state else 0
    head = struct.pack(">BQB", TRACED, number, mode) + trace + above + bytes((flags,))
    head += packed + bytes((kind,))
    if isinstance(body, str):
        body = [body, None, None, 1, 0]
    peer.send_frames(head + msgpack.packb(body))
    return number


class Timed:
    def __init__(self, message: Message) -> None:
        assert message.type == TIMED, message
        self.begun, self.took, self.type = struct.unpack(">QQB", message.raw[:17])
        self.body: Any = msgpack.unpackb(message.raw[17:])


class Sent:
    """A span as it came."""

    def __init__(self, packed: list[Any]) -> None:
        self.name, self.trace, self.id, self.above, self.begun, self.took = packed[:6]
        self.status, self.message, self.attributes, self.events = packed[6:]


def spans_of(message: Message) -> tuple[int, list[Sent]]:
    dropped, count = struct.unpack(">II", message.raw[:8])
    spans = [Sent(packed) for packed in msgpack.unpackb(message.raw[8:])]
    assert len(spans) == count
    return dropped, spans


def run(peer: Peer, code: Any, channel: str = "", **options: Any) -> tuple[list[Sent], Message]:
    """The spans of a request, and its end."""
    number = traced(peer, code, **options)
    spans: list[Sent] = []
    while True:
        message = peer.receive(channel)
        if message.type != SPANS:
            assert message.id == number, message
            return spans, message
        spans += spans_of(message)[1]


def names(spans: list[Sent]) -> dict[str, Sent]:
    return {span.name: span for span in spans}


def test_the_end_has_the_times(shared: Peer) -> None:
    before = time.time_ns()
    spans, message = run(shared, "import time; time.sleep(0.01); 7", mode=TIMED_MODE)
    end = Timed(message)
    assert (spans, end.type, end.body) == ([], RESULT, 7)
    assert before <= end.begun <= time.time_ns()
    assert 10_000_000 <= end.took <= time.time_ns() - before


def test_without_the_mode_the_end_is_as_ever(shared: Peer) -> None:
    for mode in (0, RECORDED):
        _spans, end = run(shared, "7", mode=mode)
        assert (end.type, end.body) == (RESULT, 7)


def test_errors_and_openings_are_timed_and_large_results_too(shared: Peer) -> None:
    _spans, message = run(shared, "1 / 0")
    end = Timed(message)
    assert end.type == ERROR
    assert Failure(end.body[1]).type == "ZeroDivisionError"
    _spans, message = run(shared, "iter([1, 2])", kind=STREAM_EVAL)
    assert Timed(message).type == OPENED
    _spans, message = run(shared, "bytes(70_000)")
    assert (Timed(message).type, [len(buffer) for buffer in message.buffers]) == (RESULT, [70_000])


def test_coroutines_are_timed(worker: Peer) -> None:
    code = "import asyncio\nawait asyncio.sleep(0.01)\n7"
    number = traced(worker, code)
    assert (worker.receive().id, number) == (number, number)  # DETACHED
    end = Timed(worker.receive("/a1"))
    assert (end.type, end.body) == (RESULT, 7)
    assert end.took >= 10_000_000


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        bytes(26),
        bytes(26) + bytes((TRACED,)),
        bytes((STATED,)) + bytes(25),
        bytes((STATED,)) + bytes(25) + b"\x00",
        bytes((STATED,)) + bytes(25) + b"\x00\x04a=1",
        bytes((STATED,)) + bytes(25) + b"\x00\x03a=1",
        bytes((STATED,)) + bytes(25) + b"\x00\x03a=1" + bytes((TRACED,)),
    ],
)
def test_a_broken_envelope_is_an_error(shared: Peer, rest: bytes) -> None:
    number = shared.begin_id()
    shared.send_frames(struct.pack(">BQ", TRACED, number) + rest)
    kind, payload = shared.end(number).error
    assert (kind, payload) == ("protocol", ["TRACED has a trace and a request"])


def test_the_request_knows_its_traceparent(shared: Peer) -> None:
    code = "import erlang; erlang.current_request().traceparent"
    _spans, message = run(shared, code, mode=0)
    assert message.body == f"00-{TRACE.hex()}-{ABOVE.hex()}-01"
    _spans, message = run(shared, code, mode=TIMED_MODE, trace=bytes(16), above=bytes(8))
    assert Timed(message).body is None
    assert shared.value(code) is None


def test_the_request_knows_its_tracestate(shared: Peer) -> None:
    code = """
import erlang
from opentelemetry import trace
with erlang.Span("s") as span: pass
state = trace.get_current_span().get_span_context().trace_state.to_header()
[erlang.current_request().tracestate, span.tracestate, state, erlang.Span("t").tracestate]
"""
    for state in ("a=1,b=2", "congo=t61rcWkgMzE", ""):
        _spans, message = run(shared, code, state=state)
        assert Timed(message).body == [state, state, state, ""]
    assert shared.value("import erlang; erlang.current_request().tracestate") == ""


def test_a_callback_carries_the_tracestate(worker: Peer) -> None:
    for state in ("a=1,b=2", ""):
        number = traced(worker, "import erlang; erlang.call('f')", mode=0, state=state)
        call = worker.callback()
        assert carried(call) == TRACE + ABOVE + b"\x01" + state.encode()
        worker.answer(call, 1)
        assert worker.end(number).body == 1


def test_spans_nest(shared: Peer) -> None:
    code = """
import erlang
with erlang.Span("outer", rows=2, ratio=0.5, tags=["a", 1], big=1 << 70, what=object) as outer:
    outer.set_attribute("rows", 3)
    with erlang.Span("inner") as inner:
        inner.add_event("half", n=1)
    outer.set_status("ok")
with erlang.Span("next"): pass
[outer.traceparent, inner.traceparent]
"""
    before = time.time_ns()
    spans, message = run(shared, code)
    outer, inner, after = (names(spans)[name] for name in ("outer", "inner", "next"))
    assert [span.name for span in spans] == ["inner", "outer", "next"]
    assert {span.trace for span in spans} == {TRACE}
    assert (outer.above, inner.above, after.above) == (ABOVE, outer.id, ABOVE)
    assert len({outer.id, inner.id, after.id}) == 3
    assert outer.attributes == {
        "rows": 3,
        "ratio": 0.5,
        "tags": ["a", 1],
        "big": str(1 << 70),
        "what": "<class 'object'>",
    }
    assert (outer.status, inner.status, outer.message) == ("ok", "unset", None)
    [[name, at, attributes]] = inner.events
    assert (name, attributes) == ("half", {"n": 1})
    assert before <= outer.begun <= inner.begun <= at <= inner.begun + inner.took
    assert Timed(message).body == [
        f"00-{TRACE.hex()}-{span.id.hex()}-01" for span in (outer, inner)
    ]


def test_an_exception_is_recorded_and_goes_on(shared: Peer) -> None:
    code = "import erlang\nwith erlang.Span('s'):\n    int('x')"
    [span], message = run(shared, code)
    assert Failure(Timed(message).body[1]).type == "ValueError"
    text = "invalid literal for int() with base 10: 'x'"
    assert (span.status, span.message) == ("error", f"ValueError: {text}")
    [[name, _at, attributes]] = span.events
    assert name == "exception"
    assert attributes == {"exception.type": "ValueError", "exception.message": text}


def test_values_that_fail_as_text_do_no_harm(shared: Peer) -> None:
    code = """
import erlang
class Bad(Exception):
    def __str__(self): raise ZeroDivisionError
try:
    with erlang.Span("\\ud800", bad=Bad()): raise Bad()
except Bad: pass
"""
    [span], message = run(shared, code)
    assert Timed(message).type == RESULT
    assert (span.name, span.attributes) == ("\\ud800", {"bad": "<Bad>"})
    assert (span.status, span.message) == ("error", "Bad")


def test_nothing_is_sent_that_nobody_asked_for(shared: Peer) -> None:
    code = "import erlang\nwith erlang.Span('s') as s: pass\ns.traceparent"
    spans, message = run(shared, code, mode=TIMED_MODE, trace=bytes(16), above=bytes(8))
    assert (spans, Timed(message).type) == ([], RESULT)
    assert shared.value("import erlang\nwith erlang.Span('s') as s: pass\n1") == 1
    assert shared.nothing_waits()


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("erlang.Span(3)", "TypeError: a span's name is a str, not int"),
        ("erlang.Span('s').set_status('bad')", "a status is 'ok', 'error' or 'unset', not 'bad'"),
        ("@erlang.trace\ndef f(): pass", "write @erlang.trace(), with parentheses"),
        ("s = erlang.Span('s')\nwith s: pass\nwith s: pass", "the span 's' has been used"),
    ],
)
def test_wrong_use_is_an_error(shared: Peer, code: str, error: str) -> None:
    failure = shared.failure("import erlang\n" + code)
    assert error in f"{failure.type}: {failure.message}"


def test_decorated_functions_of_each_kind(worker: Peer) -> None:
    code = """
import erlang
@erlang.trace()
def plain(x):
    "Doubles."
    return 2 * x

@erlang.trace("all", size=3)
def items(n):
    with erlang.Span("within"):
        got = yield 1
    yield got
    return n

class Shop:
    @erlang.trace()
    def price(self): return 5

def steps():
    generator = items(7)
    out = [next(generator), generator.send("sent")]
    with erlang.Span("between"): pass
    try: next(generator)
    except StopIteration as stop: out.append(stop.value)
    return out
[plain(2), plain.__name__, plain.__doc__, Shop().price(), steps()]
"""
    spans, message = run(worker, code)
    assert Timed(message).body == [4, "plain", "Doubles.", 5, [1, "sent", 7]]
    found = names(spans)
    assert sorted(found) == ["Shop.price", "all", "between", "plain", "within"]
    assert found["all"].attributes == {"size": 3}
    assert found["within"].above == found["all"].id
    assert found["between"].above == ABOVE
    assert {span.status for span in spans} == {"unset"}


def test_a_decorated_generator_that_fails_or_is_closed(worker: Peer) -> None:
    code = """
import erlang
log = []
@erlang.trace()
def items():
    try:
        yield 1
        yield 2
    finally:
        with erlang.Span("cleaning"): log.append("closed")
generator = items()
next(generator)
generator.close()
generator = items()
next(generator)
try: generator.throw(KeyError("k"))
except KeyError: log.append("thrown")
log
"""
    spans, message = run(worker, code)
    assert Timed(message).body == ["closed", "closed", "thrown"]
    closed, failed = [span for span in spans if span.name == "items"]
    assert (closed.status, failed.status) == ("unset", "error")
    assert [s.above for s in spans if s.name == "cleaning"] == [closed.id, failed.id]


def test_coroutines_keep_their_spans_apart(worker: Peer) -> None:
    code = """
import asyncio, erlang
@erlang.trace()
async def job(n):
    await asyncio.sleep(0)
    with erlang.Span(f"part {n}"):
        await asyncio.sleep(0)
    return n

@erlang.trace()
async def numbers():
    for n in range(3):
        with erlang.Span(f"item {n}"): await asyncio.sleep(0)
        yield n

async def main():
    async with asyncio.timeout(60) if hasattr(asyncio, "timeout") else Nothing():
        done = await asyncio.gather(*(job(n) for n in range(3)))
        return done + [n async for n in numbers()] + [await asyncio.to_thread(in_thread)]

class Nothing:
    async def __aenter__(self): pass
    async def __aexit__(self, *args): pass

def in_thread():
    with erlang.Span("thread"): return "t"

with erlang.Span("all"):
    got = await main()
got
"""
    traced(worker, code)
    worker.receive()  # DETACHED
    message = worker.receive("/a1")
    spans: list[Sent] = []
    while message.type == SPANS:
        spans += spans_of(message)[1]
        message = worker.receive("/a1")
    assert Timed(message).body == [0, 1, 2, 0, 1, 2, "t"]
    found = names(spans)
    jobs = {span.id for span in spans if span.name == "job"}
    assert len(jobs) == 3
    assert {found[f"part {n}"].above for n in range(3)} == jobs
    assert {found[f"item {n}"].above for n in range(3)} == {found["numbers"].id}
    assert found["thread"].above == found["numbers"].above == found["all"].id
    assert found["all"].above == ABOVE


def test_threads_belong_to_the_span_that_started_them(worker: Peer) -> None:
    code = """
import erlang, threading
def work():
    with erlang.Span("work"): pass
with erlang.Span("outer"):
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""
    spans, _message = run(worker, code)
    outer = names(spans)["outer"]
    assert [span.above for span in spans if span.name == "work"] == [outer.id] * 3


def test_what_ends_after_its_request_is_sent_then(worker: Peer) -> None:
    code = """
import erlang, threading
go = threading.Event()
def work():
    with erlang.Span("late"): go.wait()
thread = threading.Thread(target=work)
thread.start()
"""
    _spans, message = run(worker, code)
    assert Timed(message).type == RESULT
    number = worker.begin_code(RUN, "go.set(); thread.join()")
    [late] = spans_of(worker.receive())[1]
    assert (late.name, late.above) == ("late", ABOVE)
    assert worker.end(number).type == RESULT


def test_a_generator_leaves_no_span_to_other_requests(worker: Peer) -> None:
    code = """
def items():
    with erlang.Span("items"):
        for n in range(3):
            with erlang.Span(f"item {n}"): pass
            yield n
import erlang
"""
    run(worker, code)
    spans, message = run(worker, "items()", kind=STREAM_EVAL, above=b"stream_1")
    stream = message.id
    other, _message = run(worker, "with erlang.Span('other'): pass", above=b"other__1")
    assert other[0].above == b"other__1"
    left: list[int] = []
    done = None
    # A pull takes what there is within its time.
    while done is None:
        more, message = run(worker, [stream, 10], kind=PULL, mode=RECORDED, above=b"stream_1")
        spans += more
        got, done = message.body
        left += got
    assert (left, done) == ([1, 2], True)
    items = names(spans)["items"]
    assert [span.above for span in spans if span.name.startswith("item ")] == [items.id] * 3


def test_a_flood_comes_in_parts_and_blocks_nobody(worker: Peer) -> None:
    code = "import erlang\nfor n in range(10_000):\n    with erlang.Span(str(n)): pass"
    spans, message = run(worker, code)
    assert Timed(message).type == RESULT
    assert [span.name for span in spans] == [str(n) for n in range(10_000)]


def test_what_can_not_be_sent_is_counted(start: "type[Peer]") -> None:
    # A socket of libzmq is its owner's alone: what threads end waits for that, 10,000 messages at most.
    peer = start(channels="pyzmq")
    peer.set_up()
    code = """
import erlang, threading
def work():
    for n in range(70):
        with erlang.Span("s"): pass
class Full:
    def post(self, head): raise BlockingIOError
tracing = erlang._span._tracer
channel, tracing._channel = tracing._channel, Full()
work()
tracing._channel = channel
"""
    number = traced(peer, code)
    message = peer.receive()
    dropped, spans = spans_of(message)
    assert (dropped, len(spans)) == (64, 6)
    assert Timed(peer.end(number)).type == RESULT


def test_an_interrupted_request_sends_its_spans(worker: Peer) -> None:
    code = "import erlang, time\nwith erlang.Span('s'):\n    print('in')\n    time.sleep(60)"
    number = traced(worker, code)
    worker.wait_line(b"in")
    assert worker.cancel(number) == "running"
    [span] = spans_of(worker.receive())[1]
    assert (span.status, span.message) == ("error", "erlang.Interrupted")
    assert worker.end(number).type == CANCELLED


# Callbacks


def carried(call: Callback) -> Any:
    return call.body[4] if len(call.body) > 4 else None


def test_a_callback_carries_where_it_stands(worker: Peer) -> None:
    code = """
import erlang
erlang.call("f")
with erlang.Span("s") as s:
    erlang.call("f")
    erlang.cast("f")
"""
    number = traced(worker, code)
    first = worker.callback()
    assert carried(first) == TRACE + ABOVE + b"\x01"
    worker.answer(first)
    second = worker.callback()
    # A request of the callback's process: below that, whatever Python has open.
    nested = worker.begin_id()
    head = (
        struct.pack(">BQB", TRACED | NESTED, nested, BOTH) + TRACE + b"nestedne\x01" + bytes((RUN,))
    )
    body = msgpack.packb(["import erlang\nwith erlang.Span('n'): pass", None, None, 1, 0])
    worker._send_to(second.channel, head + body)
    [inner] = spans_of(worker.receive())[1]
    assert inner.above == b"nestedne"
    assert Timed(worker.end(nested)).type == RESULT
    worker.answer(second)
    cast = worker.receive()
    assert cast.type == CAST
    [outer] = spans_of(worker.receive())[1]
    assert carried(second) == cast.body[4] == TRACE + outer.id + b"\x01"
    assert Timed(worker.end(number)).type == RESULT


def test_a_callback_without_a_trace_carries_none(worker: Peer) -> None:
    number = worker.begin_code(RUN, "import erlang\nwith erlang.Span('s'): erlang.call('f')")
    call = worker.callback()
    assert (call.type, carried(call)) == (CALLBACK, None)
    worker.answer(call)
    assert worker.end(number).type == RESULT


def test_a_callback_of_a_coroutine_carries_a_trace_and_a_context(worker: Peer) -> None:
    body = ["import erlang\nawait erlang.acall('f')", None, None, 1, 0, 3]
    number = traced(worker, body)
    assert worker.receive().type == DETACHED
    call = worker.callback()
    assert call.body[4:] == [TRACE + ABOVE + b"\x01", 3]
    worker.answer(call)
    message = worker.receive_from_any()
    assert (message.id, Timed(message).type) == (number, RESULT)


def test_a_traced_request_that_moves_runs_once_beside_the_main_thread(worker: Peer) -> None:
    code = """
import erlang, threading
thread = threading.Thread(target=erlang.call, args=("f",))
thread.start()
thread.join()
"""
    number = worker.begin_code(RUN, code)
    call = worker.callback()
    where = "import threading\nthreading.current_thread() is threading.main_thread()"
    moved = traced(worker, [where, None, None, 1, 0], mode=TIMED_MODE)
    worker.control(MOVE, moved)
    head = struct.pack(">BQB", TRACED, moved, TIMED_MODE) + TRACE + ABOVE + b"\x01"
    body = msgpack.packb([where, None, None, 1, 0])
    worker._send_to("/control", head + bytes((RUN,)) + body)
    end = Timed(worker.receive_from_any())
    assert (end.type, end.body) == (RESULT, False)
    worker.answer(call)
    assert worker.end(number).type == RESULT


def test_parts_of_a_traced_stream_do_not_wait_for_a_callback(worker: Peer) -> None:
    _spans, message = run(worker, "iter(range(5))", kind=STREAM_EVAL)
    stream = message.id
    number = worker.begin_code(RUN, "import erlang; erlang.call('f')")
    call = worker.callback()
    pull = traced(worker, [stream, 2], kind=PULL, mode=0)
    end = worker.receive("/t1")
    assert (end.id, end.type, end.body) == (pull, RESULT, [[1, 2], None])
    worker.answer(call)
    assert worker.end(number).type == RESULT


# OpenTelemetry


@pytest.fixture
def exporting(start: "type[Peer]") -> Peer:
    """A worker whose OpenTelemetry keeps what has ended in `spans()`."""
    peer = start()
    peer.set_up()
    peer.value("""
import erlang
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("test")

def spans():
    found = {}
    for span in exporter.get_finished_spans():
        above = None if span.parent is None else f"{span.parent.span_id:016x}"
        context = span.context
        found[span.name] = {
            "trace": f"{context.trace_id:032x}",
            "id": f"{context.span_id:016x}",
            "above": above,
            "attributes": dict(span.attributes),
            "events": [event.name for event in span.events],
            "status": span.status.status_code.name,
            "remote": None if span.parent is None else span.parent.is_remote,
        }
    exporter.clear()
    return found
None
""")
    return peer


def test_spans_of_opentelemetry_belong_to_the_trace(exporting: Peer) -> None:
    code = (
        "with tracer.start_as_current_span('a'):\n    with tracer.start_as_current_span('b'): pass"
    )
    _spans, message = run(exporting, code, mode=0)
    assert message.type == RESULT
    found = exporting.value("spans()")
    assert found["a"]["trace"] == found["b"]["trace"] == TRACE.hex()
    assert (found["a"]["above"], found["a"]["remote"]) == (ABOVE.hex(), True)
    assert found["b"]["above"] == found["a"]["id"]
    # The request's context goes with it.
    exporting.value("with tracer.start_as_current_span('later'): pass")
    assert exporting.value("spans()")["later"]["above"] is None


def test_both_kinds_of_span_nest_within_each_other(exporting: Peer) -> None:
    code = """
with tracer.start_as_current_span("a"):
    with erlang.Span("b", rows=2) as b:
        b.add_event("half")
        with tracer.start_as_current_span("c"):
            with erlang.Span("d"): erlang.call("f")
        try:
            with erlang.Span("e"): 1 / 0
        except ZeroDivisionError: pass
"""
    number = traced(exporting, code)
    call = exporting.callback()
    exporting.answer(call)
    sent = names(spans_of(exporting.receive())[1])
    assert Timed(exporting.end(number)).type == RESULT
    found = exporting.value("spans()")
    assert sorted(found) == ["a", "b", "c", "d", "e"]
    assert [found[name]["above"] for name in "abcde"] == [
        ABOVE.hex(),
        found["a"]["id"],
        found["b"]["id"],
        found["c"]["id"],
        found["b"]["id"],
    ]
    for name in "bde":  # the same in Elixir
        assert sent[name].id.hex() == found[name]["id"]
        assert sent[name].above is not None
        assert sent[name].above.hex() == found[name]["above"]
    assert carried(call) == TRACE + sent["d"].id + b"\x01"
    assert (found["b"]["attributes"], found["b"]["events"]) == ({"rows": 2}, ["half"])
    assert (found["e"]["status"], found["e"]["events"]) == ("ERROR", ["exception"])


def test_a_trace_that_begins_in_python_goes_to_elixir(exporting: Peer) -> None:
    number = exporting.begin_code(
        RUN,
        "with tracer.start_as_current_span('a'):\n"
        "    with erlang.Span('b') as b: erlang.call('f')\nb.traceparent",
    )
    call = exporting.callback()
    exporting.answer(call)
    end = exporting.end(number)
    found = exporting.value("spans()")
    assert found["b"]["above"] == found["a"]["id"]
    # Newer versions set more flags than that of being sampled.
    assert carried(call)[:24].hex() == found["b"]["trace"] + found["b"]["id"]
    assert carried(call)[24] & 1
    flags = carried(call)[24:].hex()
    assert end.body == f"00-{found['b']['trace']}-{found['b']['id']}-{flags}"


def test_coroutines_and_threads_keep_the_context(exporting: Peer) -> None:
    code = """
import asyncio
async def job(name):
    with tracer.start_as_current_span(name):
        await asyncio.sleep(0)
await asyncio.gather(job("a"), job("b"), asyncio.to_thread(lambda: tracer.start_span("c").end()))
"""
    traced(exporting, code, mode=0)
    exporting.receive()  # DETACHED
    assert exporting.receive("/a1").type == RESULT
    found = exporting.value("spans()")
    assert {found[name]["above"] for name in "abc"} == {ABOVE.hex()}


def test_without_a_provider_the_place_in_the_trace_counts(worker: Peer) -> None:
    code = """
import erlang
from opentelemetry import trace
with erlang.Span("s") as s:
    context = trace.get_current_span().get_span_context()
[s.traceparent, f"00-{context.trace_id:032x}-{context.span_id:016x}-01"]
"""
    [span], message = run(worker, code)
    ours, theirs = Timed(message).body
    assert ours == theirs == f"00-{TRACE.hex()}-{span.id.hex()}-01"


def test_a_worker_without_opentelemetry(start: "type[Peer]") -> None:
    peer = start()
    # As if it were not installed: a module that is None can't be imported.
    peer.set_up(preload=[["code", "import sys; sys.modules['opentelemetry'] = None"]])
    [span], message = run(peer, "import erlang\nwith erlang.Span('s'): pass")
    assert (span.above, Timed(message).type) == (ABOVE, RESULT)
    assert peer.value("'opentelemetry.trace' in __import__('sys').modules") is False


def test_the_golden_messages_of_a_trace(shared: Peer) -> None:
    rows = {row[0]: bytes.fromhex(row[1]) for row in vectors.rows("messages.tsv")}
    shared.send_frames(rows["TRACED"])
    message = shared.receive()
    end = Timed(message)
    golden = Timed(Message([rows["TIMED"]]))
    assert (message.id, end.type, end.body) == (7, golden.type, golden.body) == (7, RESULT, 4.0)
    shared.send_frames(rows["TRACED with a tracestate"])
    assert Timed(shared.receive()).body == 4.0
    [span] = spans_of(Message([rows["SPANS"]]))[1]
    assert (span.name, span.attributes) == ("load", {"rows": 2})
