"""Spans of Python code: how they nest, what they hold, and when they are sent."""

from __future__ import annotations

import time

import pytest

from peer import CANCELLED, PULL, RESULT, RUN, STREAM_EVAL, Failure, Peer
from traces import (
    ABOVE,
    RECORDED,
    SPANS,
    TIMED_MODE,
    TRACE,
    Sent,
    Timed,
    names,
    run,
    spans_of,
    traced,
)


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
