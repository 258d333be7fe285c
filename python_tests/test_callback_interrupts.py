"""Requests that are cancelled while they wait in callbacks, at whatever level."""

from __future__ import annotations

import pytest

from calling import begin, in_callback, working
from peer import CANCELLED, RESULT, RUN, Peer

pytestmark = pytest.mark.usefixtures("nothing_is_left")


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
    number, f = in_callback(shared, "the main thread")
    nested = shared.nest(f, RUN, "print('in')\nwhile True: pass")
    shared.wait_line(b"in")
    assert shared.cancel(nested) == "running"
    end = shared.receive()
    assert (end.type, end.id) == (CANCELLED, nested)
    shared.answer(f, 1)
    assert shared.end(number).body == 1


def test_both_levels_are_interrupted(shared: Peer) -> None:
    number, f = in_callback(shared, "the main thread")
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


def test_a_buried_request_is_interrupted_although_its_answer_came_early(shared: Peer) -> None:
    body = """
try: erlang.call('f')
except erlang.ElixirError: pass
while True: pass"""
    number = begin(shared, working("the main thread", body))
    f = shared.callback("f")
    slow = """
import time
try: erlang.call('g')
except erlang.Interrupted:
    end = time.monotonic() + 0.1
    while time.monotonic() < end: pass
    raise"""
    nested = shared.nest(f, RUN, slow)
    shared.callback("g")
    # As when the process that works on the callback dies, whose requests end with it.
    assert shared.cancel(number) == "running"
    shared.answer_error(f, ["elixir", ["exit", None, "killed", "", None]])
    shared.ping()
    assert shared.cancel(nested) == "running"
    end = shared.receive()
    assert (end.type, end.id) == (CANCELLED, nested)
    assert shared.end(number).type == CANCELLED
