"""Channels on which threads call into the BEAM: docs/protocol.md, "Callbacks and nesting".

Each thread has a line of its own, so no thread ever waits for another's answer. While it waits it
runs the requests that are nested in its callback (`_main_line.py`, `_thread_line.py`). Event loops
have lines that do not block (`_loop_lines.py`).
"""

import itertools
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Optional, Tuple

import erlang
from erlang._request import Running
from erlang_python_worker import _protocol as wire
from erlang_python_worker._channel import Channel, Closed
from erlang_python_worker._decoder import Decoder
from erlang_python_worker._encoder import Encoder
from erlang_python_worker._extensions import DecodeError
from erlang_python_worker._locate import locate
from erlang_python_worker._protocol import HEAD_SIZE
from erlang_python_worker._requests import Requests
from erlang_python_worker._runner import Limits, Server
from erlang_python_worker._types import find

Message = Tuple[bytes, "list[Any]"]

# Frames of ours and of the user's that one level of nesting may take before it counts as a
# recursion without end, and where the interpreter's own stack gets short.
_FRAMES_PER_LEVEL = 32
_MOST_FRAMES = 6_000

ANSWERS = frozenset(
    kind | flag for kind in (wire.ANSWER, wire.ANSWER_ERROR) for flag in (0, wire.BUFFERS_FOLLOW)
)

_ids = itertools.count(1)

# What destructors have to send: they run in the middle of anything, so it waits for the end of a
# request.
left_behind: "deque[tuple[erlang.Pid, Any]]" = deque()


def take_left_behind() -> "Iterator[list[Any]]":
    while True:
        try:
            yield list(left_behind.popleft())
        except IndexError:  # another thread takes from it, too
            return


def is_answer(head: bytes) -> bool:
    return bool(head) and head[0] in ANSWERS


class Line:
    """Sends callbacks on a channel and reads their answers."""

    def __init__(self, channel: Channel, limits: Limits) -> None:
        self._channel = channel
        self._limits = limits
        self._decoder = Decoder()
        self._encoder = Encoder(find, parts=True)

    @staticmethod
    def next_key() -> bytes:
        return next(_ids).to_bytes(8, "big")

    def send(self, kind: int, key: bytes, body: "list[Any]") -> None:
        packed, buffers = self._encode(kind, body)
        if buffers:
            kind |= wire.BUFFERS_FOLLOW
        message = kind.to_bytes(1, "big") + key + packed
        if buffers or len(message) >= wire.OUT_OF_BAND:
            self._channel.send(message, buffers)
        else:
            self._channel.send_head(message)

    def _encode(self, kind: int, body: "list[Any]") -> "tuple[bytes, list[Any]]":
        try:
            packed, buffers = self._encoder.encode(body)
        except RecursionError:  # the calling code's own frames have used up the limit
            raise
        except Exception as error:
            raise TypeError(_where(self._encoder, kind, body, error)) from None
        size = HEAD_SIZE + len(packed) + sum(memoryview(data).nbytes for data in buffers)
        if size > self._limits.max_message_size:
            raise ValueError(
                f"the arguments have {size} bytes, "
                f"the pool's :max_message_size is {self._limits.max_message_size}"
            )
        return packed, buffers

    def read(self, head: bytes, buffers: "list[Any]") -> Any:
        """The value of an ANSWER; raises what an ANSWER_ERROR says."""
        try:
            body = self._decoder.decode(head[HEAD_SIZE:], buffers)
        except DecodeError as error:
            raise erlang.ElixirError(f"the answer could not be decoded: {error}") from None
        if head[0] & wire.TYPE == wire.ANSWER:
            return body
        raise failure(body)

    def catch_up(self) -> None:
        for message in take_left_behind():
            self.send(wire.SEND, bytes(8), message)

    def drop(self, head: bytes, buffers: "list[Any]") -> None:
        """An ANSWER for which nobody waits: an iterator in it has to be let go."""
        if head[0] & wire.TYPE == wire.ANSWER:
            with suppress(DecodeError):
                self._decoder.decode(head[HEAD_SIZE:], buffers)


class BlockingLine(Line, ABC):
    """The line of a thread, which waits for its answers and runs what is nested meanwhile."""

    def __init__(
        self, channel: Channel, limits: Limits, requests: Requests, server: Server
    ) -> None:
        super().__init__(channel, limits)
        self._requests = requests
        self._server = server
        self._depth = 0
        # Of each callback that is waited for, the answer that came while one above it was.
        self._answers: "dict[bytes, Optional[Message]]" = {}

    @property
    def waits(self) -> bool:
        """Does its thread wait for an answer?"""
        return bool(self._answers)

    def _ask(self, kind: int, body: "list[Any]") -> Message:
        key = self.next_key()
        self._answers[key] = None
        try:
            self._send(kind, key, body)
            while True:
                answer = self._answers[key]
                if answer is not None:
                    self._answers[key] = None
                    return answer
                self._serve_one()
        finally:
            unread = self._answers.pop(key)
            if unread is not None:
                self.drop(*unread)

    @abstractmethod
    def _serve_one(self) -> None:
        """Take one message: an answer, for `_take_answer`, or a request, which is run."""

    def _take_answer(self, head: bytes, buffers: "list[Any]") -> None:
        key = head[1:HEAD_SIZE]
        if key in self._answers:
            self._answers[key] = head, buffers
        else:  # of a callback that an interrupt ended
            self.drop(head, buffers)

    def tell(self, kind: int, body: "list[Any]") -> None:
        """Send a message that has no answer."""
        self._send(kind, bytes(8), body)

    def _send(self, kind: int, key: bytes, body: "list[Any]") -> None:
        """Send what the user's code has to say."""
        try:
            self.send(kind, key, body)
        except Closed:
            raise erlang.Interrupted("the worker is leaving") from None

    def _receive(self) -> Message:
        try:
            head = self._channel.receive_head()
            if head and head[0] & wire.BUFFERS_FOLLOW:
                return head, self._channel.receive_buffers()
        except Closed:
            raise erlang.Interrupted("the worker is leaving") from None
        return head, []

    def _serve_deeper(self, run: Running, head: bytes, buffers: "list[Any]") -> None:
        # Each level of nesting has frames of its own, as a new thread would.
        self._depth += 1
        needed = min(self._depth * _FRAMES_PER_LEVEL + 1_000, _MOST_FRAMES)
        if needed > sys.getrecursionlimit():
            sys.setrecursionlimit(needed)
        try:
            self._server.serve(run, head, buffers)
        except RecursionError as error:  # before the request's own code could catch it
            self._server.refuse(run, error)
        finally:
            self._depth -= 1


def _where(encoder: Encoder, kind: int, body: "list[Any]", error: Exception) -> str:
    located = locate(encoder, body, error, "")
    path = located.path
    for index, label in _LABELS.get(kind, {}).items():
        if path.startswith(f"[{index}]"):
            path = label + path[len(f"[{index}]") :]
    return f"{path}: {located}"


_LABELS = {
    wire.CALLBACK: {2: "args", 3: "kwargs"},
    wire.CAST: {2: "args", 3: "kwargs"},
    wire.SERVICE: {2: "args"},
    wire.SEND: {1: "message"},
}


def failure(body: Any) -> Exception:
    """What an ANSWER_ERROR says, as an exception to be raised."""
    kind, payload = body
    if kind == "elixir":
        sort, reason, message, term, stacktrace = payload
        return erlang.ElixirError(message, sort, reason, stacktrace, term)
    return _FAILURES[kind](payload[0])


_FAILURES: "dict[str, type[Exception]]" = {
    "unknown": erlang.UnknownFunction,
    "type": TypeError,
}
