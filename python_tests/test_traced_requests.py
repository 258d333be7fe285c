"""Requests with a trace, and ends with times: docs/protocol.md, "Traces"."""

from __future__ import annotations

import struct
import time

import pytest

import vectors
from peer import ERROR, OPENED, RESULT, STREAM_EVAL, Failure, Message, Peer
from traces import ABOVE, RECORDED, STATED, TIMED_MODE, TRACE, TRACED, Timed, run, spans_of, traced


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


def test_the_golden_messages_of_a_trace(shared: Peer) -> None:
    rows = {row[0]: bytes.fromhex(row[2].split()[0]) for row in vectors.rows("messages.tsv")}
    shared.send_frames(rows["TRACED"])
    message = shared.receive()
    end = Timed(message)
    golden = Timed(Message([rows["TIMED"]]))
    assert (message.id, end.type, end.body) == (7, golden.type, golden.body) == (7, RESULT, 4.0)
    shared.send_frames(rows["TRACED with a tracestate"])
    assert Timed(shared.receive()).body == 4.0
    [span] = spans_of(Message([rows["SPANS"]]))[1]
    assert (span.name, span.attributes) == ("load", {"rows": 2})
