"""Requests of a callback's own process, which run in the thread that waits for it."""

from __future__ import annotations

import pytest

from calling import TERM, WHERE, begin, in_callback, working
from peer import CALLBACK, EVAL, EXEC, RESULT, RUN, Callback, Peer

pytestmark = pytest.mark.usefixtures("nothing_is_left")


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


def test_other_requests_wait_until_the_main_thread_is_back(shared: Peer) -> None:
    number, call = in_callback(shared, "the main thread")
    others = [shared.begin(EVAL, [f"{n} + 1", None, None, 1, 0]) for n in range(3)]
    nested = shared.nest(call, RUN, "'nested'")
    assert shared.receive().id == nested
    shared.answer(call, 7)
    assert shared.end(number).body == 7
    assert [shared.end(other).body for other in others] == [1, 2, 3]


def test_one_that_waits_can_be_revoked(shared: Peer) -> None:
    number, call = in_callback(shared, "the main thread")
    other = shared.begin_code(EXEC, "print('never')")
    assert shared.cancel(other) == "revoked"
    nested = shared.begin_id()
    assert shared.cancel(nested) == "revoked"
    shared.nest(call, RUN, "print('never')", number=nested)
    shared.answer(call, 7)
    assert shared.end(number).body == 7
