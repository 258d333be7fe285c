"""What answers a callback: values, failures, and what comes late or for nobody."""

from __future__ import annotations

import pytest

from calling import HALT, ITERATOR, PID, TERM, WHERE, begin, working
from peer import CANCELLED, DETACHED, RUN, SEND, Callback, Failure, Peer

pytestmark = pytest.mark.usefixtures("nothing_is_left")

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
