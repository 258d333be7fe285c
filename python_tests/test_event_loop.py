"""Requests that run on the worker's event loop, and what they leave."""

from __future__ import annotations

from typing import Any

import pytest

import traces
from peer import DETACHED, ERROR, OPENED, OUTPUT, PULL, RESULT, RUN, STREAM_EVAL, Message, Peer


def end_of(peer: Peer, number: int) -> Message:
    while True:
        message = peer.receive_from_any()
        if message.id == number and message.type != DETACHED:
            return message


def opened(peer: Peer, code: str) -> Message:
    return end_of(peer, peer.begin_code(STREAM_EVAL, code))


def test_the_value_of_a_coroutine_is_encoded_for_its_request(start: type[Peer]) -> None:
    peer = start()
    peer.set_up(stdout="caller")
    peer.value("""
import erlang
class Own: pass
def encode(own):
    print("encoded")
    return erlang.current_request().id
erlang.register_encoder(Own, encode)
async def f(): return Own()
""")
    for _ in range(2):
        number = peer.begin_code(RUN, "f()")
        printed = end_of(peer, number)
        assert (printed.type, printed.body) == (OUTPUT, [1, "encoded\n"])
        assert end_of(peer, number).body == number


# What holds something when it fails. Nothing may refer to itself then, as what it holds may be large.
FAILING = {
    "a coroutine": (RUN, "async def f():\n    held = Held()\n    raise ValueError\nf()"),
    "a stream": (STREAM_EVAL, "async def f():\n    held = Held()\n    raise ValueError\n    yield"),
    "a traced generator": (
        RUN,
        "@erlang.trace()\ndef f():\n    held = Held()\n    yield 1\n    raise ValueError\nlist(f())",
    ),
    "a traced stream": (
        STREAM_EVAL,
        "@erlang.trace()\nasync def f():\n    held = Held()\n    raise ValueError\n    yield",
    ),
    "a traced generator into which it is thrown": (
        RUN,
        "@erlang.trace()\ndef f():\n    held = Held()\n    yield\n"
        "g = f()\nnext(g)\nthrown, g = g.throw, None\n"
        "try: thrown(ValueError)\nfinally: del thrown",
    ),
}


@pytest.mark.parametrize(("kind", "code"), FAILING.values(), ids=FAILING)
def test_a_failure_goes_without_the_garbage_collector(worker: Peer, kind: int, code: str) -> None:
    worker.value(
        'import erlang, gc, os\ngc.disable()\nclass Held:\n    def __del__(self): os.write(1, b"freed\\n")'
    )
    if kind == STREAM_EVAL:
        worker.code(RUN, code)
        assert opened(worker, "f()").type == RESULT
    else:
        assert end_of(worker, worker.begin_code(RUN, code)).type == ERROR
    worker.wait_line(b"freed")


def test_requests_leave_no_garbage(worker: Peer) -> None:
    worker.value("import gc\nasync def f(): pass")
    for number in (traces.traced(worker, "1"), worker.begin_code(RUN, "f()")):
        end_of(worker, number)
    worker.value("gc.disable(); gc.collect()")
    for _ in range(10):
        end_of(worker, traces.traced(worker, "1"))
        end_of(worker, worker.begin_code(RUN, "f()"))
    left = "gc.set_debug(gc.DEBUG_SAVEALL); gc.collect(); [type(o).__name__ for o in gc.garbage]"
    assert not {"Running", "Trace"} & set(worker.value(left))


def test_a_stream_has_one_encoder_for_all_that_it_gives(worker: Peer) -> None:
    worker.value("import gc\nasync def numbers():\n    for n in range(1_000): yield str(n)")
    stream = opened(worker, "numbers()")
    assert stream.type == OPENED
    worker.value("gc.disable()")
    count = "sum(type(o).__name__ == 'Encoder' for o in gc.get_objects())"

    def encoders_after_a_pull() -> Any:
        assert end_of(worker, worker.begin(PULL, [stream.id, 1])).type == RESULT
        return worker.value(count)

    assert len({encoders_after_a_pull() for _ in range(5)}) == 1


def test_the_loop_looks_before_it_sleeps_only_while_a_callback_is_awaited(worker: Peer) -> None:
    worker.value("""
import asyncio, erlang
from erlang_python_worker import _loop_selector

looked = []
class Spin:
    def __init__(self, poll): pass
    def look(self): looked.append(1)
_loop_selector.Spin = Spin

async def sleeps():
    await asyncio.sleep(0.01)
    return len(looked)

async def calls():
    await erlang.acall("f")
    return len(looked)
""")
    assert end_of(worker, worker.begin_code(RUN, "sleeps()")).body == 0
    number = worker.begin_code(RUN, "calls()")
    assert worker.end(number).type == DETACHED
    worker.answer(worker.callback("f"))
    assert end_of(worker, number).body == 1
    assert end_of(worker, worker.begin_code(RUN, "sleeps()")).body == 1
