"""Calls, casts and messages from Python into the BEAM, whose part the peer plays."""

from __future__ import annotations

from typing import Callable

import pytest

from calling import FUN, PID, WHERE, begin, working
from peer import CALLBACK, CAST, RESULT, RUN, SEND, SERVICE, Failure, Peer

pytestmark = pytest.mark.usefixtures("nothing_is_left")


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
