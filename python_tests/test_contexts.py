from typing import Any

import pytest

from peer import (
    CLOSE,
    DETACHED,
    EVAL,
    EXEC,
    OPENED,
    PULL,
    RESULT,
    RUN,
    SHUTDOWN,
    STREAM_EVAL,
    Peer,
)

DROP_CONTEXT = 0x0C


def run(peer: Peer, kind: int, code: str, context: int) -> Any:
    return peer.request(kind, [code, None, None, 1, 0, context])


def test_each_context_has_names_of_its_own(shared: Peer) -> None:
    for context in (1, 2):
        assert run(shared, EXEC, f"x = {context}", context).type == RESULT
    assert [run(shared, EVAL, "x", context).body for context in (1, 2)] == [1, 2]
    assert shared.value("'x' in globals()") is False


def test_what_comes_after_the_end_of_a_context_finds_no_empty_one(shared: Peer) -> None:
    assert run(shared, EXEC, "x = 1", 3).type == RESULT
    assert shared.request(DROP_CONTEXT, [3]).body is None
    assert run(shared, EVAL, "x", 3).error == ("context", [])
    assert run(shared, EXEC, "x = 1", 3).error == ("context", [])


def test_wrong_contexts_are_protocol_errors(shared: Peer) -> None:
    assert shared.request(EVAL, ["1", None, None, 1, 0, "a"]).error[0] == "protocol"
    assert shared.request(DROP_CONTEXT, []).error[0] == "protocol"


# A function keeps its names alive, and they the function.
LITTER = """
import os
class Held:
    def __del__(self): os.write(1, b"freed\\n")
held = Held()
def f(): return held
"""


def test_what_a_closed_context_leaves_is_freed(worker: Peer) -> None:
    for context in range(1, 6):
        assert run(worker, EXEC, LITTER, context).type == RESULT
        assert worker.request(DROP_CONTEXT, [context]).body is None
        worker.wait_line(b"freed")


# What a request of the context does before it is closed, at a place that outlives it.
OUTLIVED = {
    "a class of its own with an encoding": (
        "from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int\nPoint(1)"
    ),
    "the event loop": "async def g(): return held and 1\ng()",
    "a thread of the event loop's": (
        "import asyncio\nasync def g(): return held and await asyncio.to_thread(int)\ng()"
    ),
    "a pool of threads": (
        "import concurrent.futures\nerlang.pool = concurrent.futures.ThreadPoolExecutor(1)\n"
        "erlang.pool.submit(int).result()"
    ),
}


@pytest.mark.parametrize("code", OUTLIVED.values(), ids=OUTLIVED)
def test_nothing_that_outlives_a_context_keeps_it(worker: Peer, code: str) -> None:
    number = worker.begin(RUN, [LITTER + code, None, None, 1, 0, 1])
    assert end_of(worker, number).type == RESULT
    # The event loop has done with the first when it has begun another.
    end_of(worker, worker.begin_code(RUN, "async def f(): pass\nf()"))
    drop(worker)


def test_an_event_loop_that_another_thread_makes_keeps_no_context(worker: Peer) -> None:
    number = worker.begin_id()
    code = LITTER + "async def g(): return held and 1\ng()"
    worker.control(RUN, number, [code, None, None, 1, 0, 1])
    assert end_of(worker, number).body == 1
    end_of(worker, worker.begin_code(RUN, "async def f(): pass\nf()"))
    drop(worker)


def test_a_thread_that_takes_over_for_the_main_one_keeps_no_context(worker: Peer) -> None:
    code = LITTER + "erlang.call('f')"
    waiting = worker.begin(RUN, [code, None, None, 1, 0, 1])
    call = worker.callback()
    # Only this worker has the context, so it does not wait for the main thread.
    assert end_of(worker, worker.begin(RUN, ["2", None, None, 1, 0, 2])).body == 2
    worker.answer(call, 1)
    assert end_of(worker, waiting).body == 1
    drop(worker)


def drop(peer: Peer) -> None:
    """Close the first context, and wait until what it held has gone."""
    assert end_of(peer, peer.begin(DROP_CONTEXT, [1])).body is None
    peer.wait_line(b"freed")


def end_of(peer: Peer, number: int) -> Any:
    while True:
        message = peer.receive_from_any()
        if message.type != DETACHED:
            assert message.id == number, message
            return message


def test_requests_go_first(worker: Peer) -> None:
    for context in range(1, 51):
        worker.begin(EXEC, [LITTER, None, None, 1, 0, context])
        worker.begin(DROP_CONTEXT, [context])
    last = worker.begin_code(EXEC, "last = 1")
    for _ in range(100):
        assert worker.receive().type == RESULT
    assert worker.end(last).type == RESULT
    for _ in range(50):
        worker.wait_line(b"freed")


def test_nothing_is_collected_where_that_is_switched_off(worker: Peer) -> None:
    worker.code(EXEC, "import gc; gc.disable()")
    assert run(worker, EXEC, LITTER, 1).type == RESULT
    assert worker.request(DROP_CONTEXT, [1]).body is None
    held = "sum(type(o).__name__ == 'Held' for o in gc.get_objects())"
    assert [worker.value(held) for _ in range(3)] == [1, 1, 1]


def test_the_end_does_not_wait_for_it(worker: Peer) -> None:
    # A heap that takes long to collect, so that the next collection would come late.
    worker.code(EXEC, "heap = [[n] for n in range(300_000)]")
    for context in (1, 2):
        assert run(worker, EXEC, LITTER, context).type == RESULT
        assert worker.request(DROP_CONTEXT, [context]).body is None
    worker.control(SHUTDOWN, 0)
    assert worker.exit_status() == 0


def test_a_stream_finds_the_main_module_of_its_context(shared: Peer) -> None:
    code = "import pickle\nclass C: pass\ndef some():\n    try:\n"
    code += "        while True: yield len(pickle.dumps(C())) > 0\n"
    code += "    finally:\n        left = pickle.dumps(C())"
    assert run(shared, EXEC, code, 5).type == RESULT
    end = run(shared, STREAM_EVAL, "some()", 5)
    assert (end.type, end.body) == (OPENED, [[True], None])
    assert shared.request(PULL, [end.id, 1]).body == [[True], None]
    assert shared.request(CLOSE, [end.id]).body is None
    assert shared.value("'C' in __import__('sys').modules['__main__'].__dict__") is False
