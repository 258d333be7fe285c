"""Callbacks within a trace, and traced requests while the main thread waits in one."""

from __future__ import annotations

from peer import CALLBACK, CAST, DETACHED, MOVE, NESTED, PULL, RESULT, RUN, STREAM_EVAL, Peer
from traces import ABOVE, TIMED_MODE, TRACE, Timed, carried, envelope, run, spans_of, traced


def test_a_callback_carries_the_tracestate(worker: Peer) -> None:
    for state in ("a=1,b=2", ""):
        number = traced(worker, "import erlang; erlang.call('f')", mode=0, state=state)
        call = worker.callback()
        assert carried(call) == TRACE + ABOVE + b"\x01" + state.encode()
        worker.answer(call, 1)
        assert worker.end(number).body == 1


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
    code = "import erlang\nwith erlang.Span('n'): pass"
    frame = envelope(nested, code, above=b"nestedne", nested=NESTED)
    worker.send_frames(frame, channel=second.channel)
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
    moved = traced(worker, where, mode=TIMED_MODE)
    worker.control(MOVE, moved)
    worker.send_frames(envelope(moved, where, mode=TIMED_MODE), channel="/control")
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
