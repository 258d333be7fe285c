"""docs/protocol.md, "Streams"."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import msgpack
import pytest

from peer import (
    CALL,
    CANCELLED,
    CLOSE,
    DETACHED,
    ERROR,
    EVAL,
    FLUSH,
    FLUSHED,
    OPENED,
    PULL,
    RESULT,
    SHUTDOWN,
    STREAM_CALL,
    STREAM_EVAL,
    Failure,
    Message,
    Peer,
)


def collect_for(peer: Peer, seconds: float) -> None:
    peer.value(f"import erlang_python_worker._streams as s; s.COLLECT_S = {seconds}; None")


def opened(peer: Peer, text: str, face: int = 0, **bindings: Any) -> tuple[int, Message]:
    # On a busy machine a pull would end before it has its items.
    collect_for(peer, 60)
    number = peer.begin(STREAM_EVAL, [text, bindings or None, None, 1, face])
    return number, peer.end(number)


def pull(peer: Peer, stream: int, most: int) -> Any:
    end = peer.request(PULL, [stream, most])
    assert end.type == RESULT, end
    return end.body


def close(peer: Peer, stream: int) -> Message:
    return peer.request(CLOSE, [stream])


def beside_end(peer: Peer, number: int | None = None) -> Message:
    """The next end of a request that an event loop runs."""
    while True:
        message = peer.receive_from_any()
        if message.type != DETACHED:
            assert number in (None, message.id), message
            return message


def failure(end: bytes) -> Failure:
    kind, payload = msgpack.unpackb(end)
    assert kind == "python"
    return Failure(payload)


def define(peer: Peer, text: str) -> None:
    peer.value(text)


class TestOpening:
    def test_gives_the_first_item_and_leaves_the_stream_open(self, shared: Peer) -> None:
        stream, end = opened(shared, "(n for n in range(5))")
        assert (end.type, end.body) == (OPENED, [[0], None])
        assert pull(shared, stream, 2) == [[1, 2], None]
        assert pull(shared, stream, 9) == [[3, 4], True]

    def test_an_iterable_that_has_no_items_is_over_at_once(self, shared: Peer) -> None:
        _, end = opened(shared, "[]")
        assert (end.type, end.body) == (RESULT, [[], True])

    def test_takes_a_function_as_a_call_does(self, shared: Peer) -> None:
        body = ["itertools", "count", [10], {"step": 5}, 0]
        collect_for(shared, 60)
        number = shared.begin(STREAM_CALL, body)
        assert shared.end(number).body == [[10], None]
        assert pull(shared, number, 2) == [[15, 20], None]
        close(shared, number)

    def test_streams_lines_of_a_file(self, shared: Peer, tmp_path: Path) -> None:
        (tmp_path / "lines").write_text("a\nb\n")
        stream, end = opened(shared, "open(path)", path=str(tmp_path / "lines"))
        assert end.body == [["a\n"], None]
        assert pull(shared, stream, 9) == [["b\n"], True]

    def test_what_is_not_iterable_raises_pythons_own_error(self, shared: Peer) -> None:
        _, end = opened(shared, "17")
        kind, payload = end.error
        assert kind == "python"
        assert Failure(payload).message == "'int' object is not iterable"

    def test_under_the_erlang_face_only_iterators_stream(self, shared: Peer) -> None:
        assert opened(shared, "[1, 2]", face=1)[1].body == [[[1, 2]], None]
        assert opened(shared, "iter([1, 2])", face=1)[1].body == [[1], None]

    def test_an_iterator_that_a_call_returns_is_kept_under_the_erlang_face(
        self, shared: Peer
    ) -> None:
        collect_for(shared, 60)
        number = shared.begin(EVAL, ["(n for n in 'ab')", None, None, 1, 1])
        end = shared.end(number)
        assert (end.type, end.body) == (OPENED, None)
        assert pull(shared, number, 1) == [["a"], None]
        assert close(shared, number).type == RESULT
        assert shared.code(EVAL, "(n for n in 'ab')").error[0] == "encode"
        assert shared.request(CALL, ["builtins", "iter", [[1]], None, 1]).type == OPENED


class TestItems:
    def test_an_item_is_taken_as_it_is_when_it_is_yielded(self, shared: Peer) -> None:
        define(
            shared,
            "def reusing():\n    row = []\n    for n in range(3):\n        row.append(n)\n"
            "        yield row",
        )
        stream, _ = opened(shared, "reusing()")
        assert pull(shared, stream, 2) == [[[0, 1], [0, 1, 2]], None]
        close(shared, stream)

    def test_large_items_travel_out_of_band_one_to_a_message(self, shared: Peer) -> None:
        stream, end = opened(shared, "(bytes([n]) * 100_000 for n in range(3))")
        assert end.body == [[msgpack.ExtType(6, b"\x01" + bytes(4))], None]
        assert end.buffers == [bytes(100_000)]
        for number in (1, 2):
            end = shared.request(PULL, [stream, 10])
            assert end.buffers == [bytes([number]) * 100_000]
        assert pull(shared, stream, 10) == [[], True]

    def test_a_message_holds_about_64_kib(self, shared: Peer) -> None:
        stream, _ = opened(shared, "('x' * 1_000 for n in range(200))")
        items, end = pull(shared, stream, 1_000)
        assert (len(items), end) == (66, None)
        close(shared, stream)

    def test_no_message_is_over_the_limit(self, start: Any) -> None:
        peer = start()
        peer.set_up(max_message_size=70_000)
        stream, _ = opened(peer, "iter(['a', 'b', 'c' * 60_000, 'd' * 60_000, 'e'])")
        sizes = []
        for _ in range(3):
            end = peer.request(PULL, [stream, 10])
            assert 9 + len(end.raw) + sum(map(len, end.buffers)) <= 70_000
            sizes += [len(item) for item in end.body[0]]
        assert sizes == [1, 60_000, 60_000, 1]

    def test_an_item_over_the_limit_is_an_error_in_its_place(self, start: Any) -> None:
        peer = start()
        peer.set_up(max_message_size=70_000)
        stream, _ = opened(peer, "iter(['a', 'b', 'c' * 80_000, 'd'])")
        items, end = pull(peer, stream, 10)
        assert items == ["b"]
        assert msgpack.unpackb(end)[0] == "too_large"
        assert pull(peer, stream, 10) == [[], True]

    def test_an_item_without_an_encoding_closes_the_generator(self, shared: Peer) -> None:
        define(
            shared,
            "left = []\ndef some():\n    try:\n        yield 1\n        yield 2\n"
            "        yield object()\n        yield 4\n    finally:\n        left.append('closed')",
        )
        stream, _ = opened(shared, "some()")
        items, end = pull(shared, stream, 10)
        assert items == [2]
        assert msgpack.unpackb(end)[0] == "encode"
        assert shared.value("left") == ["closed"]


class TestEnds:
    def test_an_exception_comes_after_the_items_before_it(self, shared: Peer) -> None:
        stream, _ = opened(shared, "(1 // n for n in (1, 1, 0, 1))")
        items, end = pull(shared, stream, 10)
        assert items == [1]
        assert failure(end).type == "ZeroDivisionError"
        assert pull(shared, stream, 10) == [[], True]

    def test_an_exception_of_the_first_item_ends_the_opening(self, shared: Peer) -> None:
        _, end = opened(shared, "(1 // n for n in (0,))")
        assert end.type == RESULT
        assert failure(end.body[1]).type == "ZeroDivisionError"

    def test_an_exception_that_has_no_room_comes_with_the_next_pull(self, start: Any) -> None:
        peer = start()
        peer.set_up(max_message_size=65_536)
        define(
            peer,
            "def long():\n    yield 1\n    yield 'x' * 60_000\n    raise ValueError('m' * 9_000)",
        )
        stream, _ = opened(peer, "long()")
        items, end = pull(peer, stream, 10)
        assert ([len(item) for item in items], end) == ([60_000], None)
        items, end = pull(peer, stream, 10)
        assert (items, failure(end).type) == ([], "ValueError")

    @pytest.mark.parametrize("error", ["SystemExit", "KeyboardInterrupt", "StopIteration"])
    def test_any_exception_is_one(self, shared: Peer, error: str) -> None:
        define(shared, f"def bad():\n    yield 1\n    raise {error}")
        stream, _ = opened(shared, "bad()")
        expected = "RuntimeError" if error == "StopIteration" else error
        assert failure(pull(shared, stream, 2)[1]).type == expected

    def test_closing_runs_what_the_generator_has_to_do(self, shared: Peer) -> None:
        define(
            shared,
            "left = []\ndef some():\n    try:\n        yield 1\n        yield 2\n"
            "    finally:\n        left.append('closed')",
        )
        stream, _ = opened(shared, "some()")
        assert close(shared, stream).body is None
        assert shared.value("left") == ["closed"]
        assert pull(shared, stream, 1) == [[], True]
        assert close(shared, stream).type == RESULT

    def test_what_closing_raises_is_the_end_of_the_close(self, shared: Peer) -> None:
        define(shared, "def bad():\n    try:\n        yield 1\n    finally:\n        1 // 0")
        stream, _ = opened(shared, "bad()")
        assert close(shared, stream).type == ERROR

    def test_a_cancelled_pull_closes_the_generator(self, worker: Peer) -> None:
        define(
            worker,
            "import time\nleft = []\ndef some():\n    try:\n        yield 1\n"
            "        print('waiting', flush=True)\n        time.sleep(60)\n"
            "    finally:\n        left.append('closed')",
        )
        stream, _ = opened(worker, "some()")
        number = worker.begin(PULL, [stream, 5])
        worker.wait_line(b"waiting")
        assert worker.cancel(number) == "running"
        assert worker.end(number).type == CANCELLED
        assert worker.value("left") == ["closed"]
        assert pull(worker, stream, 1) == [[], True]

    def test_waits_for_a_pull_in_another_thread(self, worker: Peer, tmp_path: Path) -> None:
        go = tmp_path / "go"
        os.mkfifo(go)
        define(
            worker,
            "left = []\ndef some(path):\n    try:\n        yield 1\n"
            "        print('waiting', flush=True)\n        open(path).read()\n        yield 2\n"
            "    finally:\n        left.append('closed')",
        )
        stream, _ = opened(worker, "some(path)", path=str(go))
        number = worker.begin_id()
        worker.control(PULL, number, [stream, 1])
        worker.wait_line(b"waiting")
        closing = worker.begin(CLOSE, [stream])
        while int.from_bytes(worker.running.read_bytes()[:8], "big") != closing:
            pass
        go.write_text("")
        ends = {end.id: end.body for end in (worker.receive_from_any() for _ in range(2))}
        assert ends == {number: [[2], True], closing: None}
        assert worker.value("left") == ["closed"]
        assert pull(worker, stream, 1) == [[], True]

    def test_ends_a_pull_that_waits_for_an_asynchronous_iterator(self, worker: Peer) -> None:
        define(
            worker,
            "import asyncio\nasync def some():\n    yield 1\n"
            "    print('waiting', flush=True)\n    await asyncio.Event().wait()",
        )
        stream = worker.begin_code(STREAM_EVAL, "some()")
        assert beside_end(worker, stream).type == OPENED
        number = worker.begin(PULL, [stream, 2])
        worker.wait_line(b"waiting")
        closing = worker.begin(CLOSE, [stream])
        ends = {end.id: end.body for end in (beside_end(worker), beside_end(worker))}
        assert ends == {number: [[], True], closing: None}

    def test_may_come_from_the_generator_itself(self, worker: Peer) -> None:
        define(
            worker,
            "import erlang\nleft = []\ndef some():\n    try:\n        yield 1\n"
            "        erlang.call('f')\n        yield 2\n    finally:\n        left.append('closed')",
        )
        stream, _ = opened(worker, "some()")
        number = worker.begin(PULL, [stream, 1])
        call = worker.callback()
        closing = worker.nest_body(call, CLOSE, [stream])
        assert worker.end(closing).body is None
        worker.answer(call, None)
        assert worker.end(number).body == [[2], True]
        assert worker.value("left") == ["closed"]

    def test_streams_cost_a_worker_nothing_while_nobody_reads(self, shared: Peer) -> None:
        streams = [opened(shared, "iter(range(3))")[0] for _ in range(1_000)]
        assert shared.value("1 + 1") == 2
        for stream in streams:
            assert pull(shared, stream, 9) == [[1, 2], True]

    @pytest.mark.parametrize("body", [[1], [1, 2, 3], ["a", 1], None])
    def test_a_pull_that_makes_no_sense_is_an_error(self, shared: Peer, body: Any) -> None:
        assert shared.request(PULL, body).error[0] in ("protocol", "decode")


def test_a_pull_ends_when_it_has_collected_for_its_time(worker: Peer) -> None:
    stream, _ = opened(worker, "iter(range(1_000))")
    collect_for(worker, 0)
    assert pull(worker, stream, 100) == [[1], None]


class TestFlushing:
    def test_takes_what_a_pull_has_so_far(self, worker: Peer, tmp_path: Path) -> None:
        go = tmp_path / "go"
        os.mkfifo(go)
        define(
            worker,
            "def some(path):\n    yield 0\n    yield 1\n    yield 2\n"
            "    print('waiting', flush=True)\n    open(path).read()\n    yield 3\n    yield 4",
        )
        stream, _ = opened(worker, "some(path)", path=str(go))
        number = worker.begin(PULL, [stream, 10])
        worker.wait_line(b"waiting")
        assert flush(worker, number) == [1, 2]
        assert flush(worker, number) == []
        go.write_text("")
        # A pull that was flushed ends with its next item.
        assert worker.end(number).body == [[3], None]
        assert pull(worker, stream, 10) == [[4], True]

    def test_says_if_the_pull_does_not_run(self, shared: Peer) -> None:
        assert flush(shared, 77) is None


def flush(peer: Peer, number: int) -> Any:
    peer.control(FLUSH, number)
    answer = peer.receive("/control")
    assert (answer.type, answer.id) == (FLUSHED, number)
    return answer.body


def test_a_worker_that_is_killed_in_a_pull_had_begun_it(worker: Peer) -> None:
    define(worker, "import os\ndef bad():\n    yield 1\n    os.kill(os.getpid(), 9)")
    stream, _ = opened(worker, "bad()")
    number = worker.begin(PULL, [stream, 1])
    assert worker.exit_status() == -signal.SIGKILL
    assert int.from_bytes(worker.running.read_bytes()[:8], "big") == number


def test_a_worker_that_shuts_down_closes_what_is_open(worker: Peer) -> None:
    define(
        worker,
        "def some(name):\n    try:\n        yield 1\n    finally:\n"
        "        print('closed', name, flush=True)\n        1 // (name == 'a')",
    )
    opened(worker, "some('a')")
    opened(worker, "some('b')")
    opened(worker, "some('a')")
    worker.control(SHUTDOWN, 0)
    assert worker.exit_status() == 0
    assert worker.process.stdout is not None
    output = worker.process.stdout.read().decode()
    assert output.count("closed") == 3
    assert "ZeroDivisionError" in output
