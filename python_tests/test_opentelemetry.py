"""Spans beside Python's real OpenTelemetry, and without it."""

from __future__ import annotations

import pathlib

import pytest

from calling import in_callback
from peer import CAST, RESULT, RUN, Peer
from traces import ABOVE, TRACE, Timed, carried, names, run, spans_of, traced


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


def test_a_broken_opentelemetry_is_told_once(start: "type[Peer]", tmp_path: pathlib.Path) -> None:
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("raise RuntimeError('broken')")
    peer = start()
    peer.set_up(paths=[str(tmp_path)])
    for _ in range(2):
        spans, message = run(peer, "import erlang\nwith erlang.Span('s'): pass")
        assert (len(spans), Timed(message).type) == (1, RESULT)
    peer.wait_line(b"opentelemetry can't be imported, so it is not used: RuntimeError('broken')")


def test_a_worker_without_opentelemetry(start: "type[Peer]") -> None:
    peer = start()
    # As if it were not installed: a module that is None can't be imported.
    peer.set_up(preload=[["code", "import sys; sys.modules['opentelemetry'] = None"]])
    [span], message = run(peer, "import erlang\nwith erlang.Span('s'): pass")
    assert (span.above, Timed(message).type) == (ABOVE, RESULT)
    assert peer.value("'opentelemetry.trace' in __import__('sys').modules") is False


# A thread imports it, and the request's own code does this as long as that takes.
IMPORTING = """
import sys, threading
assert "opentelemetry" not in sys.modules
thread = threading.Thread(target=__import__, args=("opentelemetry.trace",))
thread.start()
while thread.is_alive():
    {}
"""


@pytest.mark.parametrize("code", ["erlang.cast('f')", "with erlang.Span('a'): pass"])
def test_it_is_not_used_before_a_thread_has_imported_it(worker: Peer, code: str) -> None:
    begun = worker.begin_code(RUN, IMPORTING.format(code))
    while (message := worker.receive()).type == CAST:
        pass
    assert (message.type, message.id, message.body) == (RESULT, begun, None)


def test_the_first_requests_with_a_trace_may_come_together(worker: Peer) -> None:
    number, call = in_callback(worker, "the main thread")
    begun = {traced(worker, "1", channel="/control", mode=0) for _ in range(4)}
    ends = [worker.receive_from_any() for _ in begun]
    assert {end.id for end in ends} == begun
    assert [end.type for end in ends] == [RESULT] * 4
    worker.answer(call, 1)
    assert worker.end(number).body == 1
