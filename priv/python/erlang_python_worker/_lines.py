"""Channels on which threads call into the BEAM: docs/protocol.md, "Callbacks and nesting".

Each thread has a line of its own, so no thread ever waits for another's answer. While it waits it
runs the requests that are nested in its callback. The main thread's line is the worker's main
channel.
"""

import itertools
import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Callable, Optional, Tuple

from msgpack import Unpacker, UnpackException

import erlang
from erlang._request import Running
from erlang_python_worker import _protocol as wire
from erlang_python_worker._channel import Channel, Closed
from erlang_python_worker._decoder import Decoder
from erlang_python_worker._encoder import Encoder
from erlang_python_worker._extensions import DecodeError
from erlang_python_worker._kept import kept
from erlang_python_worker._locate import locate
from erlang_python_worker._output import Printed
from erlang_python_worker._protocol import HEAD_SIZE
from erlang_python_worker._requests import Requests
from erlang_python_worker._runner import Limits, Server
from erlang_python_worker._types import find

Message = Tuple[bytes, "list[Any]"]

# Frames of ours and of the user's that one level of nesting may take before it counts as a
# recursion without end, and where the interpreter's own stack gets short.
_FRAMES_PER_LEVEL = 32
_MOST_FRAMES = 6_000

_ANSWERS = frozenset(
    kind | flag for kind in (wire.ANSWER, wire.ANSWER_ERROR) for flag in (0, wire.BUFFERS_FOLLOW)
)

# How long the main thread waits in a callback before others serve what only this worker can.
_PATIENCE_MS = 20
# Parts of streams: their readers wait for each of many, and the iterator does not mind the thread.
_PARTS = (wire.PULL, wire.CLOSE)
# Requests that may belong to a context.
_PLACED = (wire.CALL, wire.EVAL, wire.EXEC, wire.RUN, wire.STREAM_CALL, wire.STREAM_EVAL)
# Where in their bodies it stands.
_CONTEXT_AT = 5

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
    return bool(head) and head[0] in _ANSWERS


def _is_pinned(head: bytes) -> bool:
    """Does a request belong to a context, or hold an object that is kept here?

    Not decoded for that: an iterator among its arguments is halted when it is thrown away.
    """
    if not head or wire.request_type(head) not in _PLACED:
        return False
    if kept.mark in head:
        return True
    body = Unpacker(max_buffer_size=len(head))
    body.feed(wire.request_body(head))
    try:
        if body.read_array_header() <= _CONTEXT_AT:
            return False
        for _ in range(_CONTEXT_AT):
            body.skip()
        return body.unpack() is not None
    except (ValueError, UnpackException):  # a wrong message: whoever runs it says so
        return False


class Line:
    """Sends callbacks on a channel and reads their answers."""

    def __init__(self, channel: Channel, limits: Limits) -> None:
        self._channel = channel
        self._limits = limits
        self._decoder = Decoder()
        self._encoder = Encoder(find)

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

    def _ask(self, kind: int, body: "list[Any]") -> Message:
        key = self.next_key()
        self._answers[key] = None
        try:
            self.send(kind, key, body)
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
        self.send(kind, bytes(8), body)

    def catch_up(self) -> None:
        for message in take_left_behind():
            self.tell(wire.SEND, message)

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


class MainLine(BlockingLine):
    """The main thread's: interrupts are raised while it waits, never while it sends or receives."""

    def __init__(
        self, channel: Channel, limits: Limits, requests: Requests, server: Server
    ) -> None:
        super().__init__(channel, limits, requests, server)
        # Messages for the main thread that came while it waited in a callback.
        self._held: "deque[Message]" = deque()
        # Where those go that no other worker can take, if the wait is long.
        self.hand_over: "Optional[Callable[[bytes, list[Any]], None]]" = None

    def next(self) -> Message:
        """The next message, when the main thread is free."""
        if self._held:
            return self._held.popleft()
        while True:
            head = self._channel.receive_head()
            kind = head[0] if head else 0
            buffers = self._channel.receive_buffers() if kind & wire.BUFFERS_FOLLOW else []
            # The id of an answer is no request's.
            if kind not in _ANSWERS:
                return head, buffers
            self.drop(head, buffers)
            self.catch_up()

    def has_message(self, timeout_ms: int) -> bool:
        """Has `next` a message within the time?"""
        return bool(self._held) or self._channel.wait(timeout_ms)

    def call(self, kind: int, body: "list[Any]") -> Any:
        requests = self._requests
        armed = requests.armed
        requests.armed = False
        try:
            answer = self._ask(kind, body)
        finally:
            requests.armed = armed
        return self.read(*answer)

    def tell(self, kind: int, body: "list[Any]") -> None:
        requests = self._requests
        armed = requests.armed
        requests.armed = False
        try:
            super().tell(kind, body)
        finally:
            requests.armed = armed

    def _serve_one(self) -> None:
        self._wait()
        head, buffers = self._receive()
        if is_answer(head):
            self._take_answer(head, buffers)
        elif head and head[0] & wire.NESTED:
            self._serve(head, buffers)
        elif self.hand_over is not None and head and wire.request_type(head) in _PARTS:
            self.hand_over(head, buffers)
        else:
            self._held.append((head, buffers))

    def _wait(self) -> None:
        requests = self._requests
        while True:
            # The answer may need what is held here, and no other worker has it.
            pinned = [message for message in self._held if _is_pinned(message[0])]
            requests.armed = True
            try:
                requests.check()
                if self._channel.wait(_PATIENCE_MS if pinned else None):
                    return
            finally:
                requests.armed = False
            for message in pinned:
                self._held.remove(message)
                assert self.hand_over is not None
                self.hand_over(*message)

    def _serve(self, head: bytes, buffers: "list[Any]") -> None:
        run = self._requests.begin_nested(head[1:HEAD_SIZE])
        if run is None:
            return
        try:
            self._serve_deeper(run, head, buffers)
        finally:
            self._requests.end_nested()


class ThreadLine(BlockingLine):
    """That of any other thread."""

    def __init__(
        self, channel: Channel, limits: Limits, requests: Requests, server: Server
    ) -> None:
        super().__init__(channel, limits, requests, server)
        # Held by its thread while that calls or serves; by whoever closes it.
        self._used = threading.Lock()
        self._levels = 0
        self._leaving = False
        self._closed = False

    def call(self, kind: int, body: "list[Any]") -> Any:
        self._enter()
        try:
            self._check_open()
            answer = self._ask(kind, body)
        finally:
            self._leave()
        return self.read(*answer)

    def tell(self, kind: int, body: "list[Any]") -> None:
        self._enter()
        try:
            self._check_open()
            super().tell(kind, body)
        finally:
            self._leave()

    def serve(
        self,
        head: bytes,
        buffers: "list[Any]",
        from_main: bool = False,
        within: "Optional[Running]" = None,
    ) -> None:
        """Run a request beside the main thread, and send its end.

        Args:
            from_main: whether it came on the main channel.
            within: the request in whose callback the thread waits for it.
        """
        run = self._requests.begin_beside(head[1:HEAD_SIZE], from_main=from_main)
        if run is None:
            return
        if within is not None and within.namespace is not None:
            run.namespace = within.namespace
        run.output = Printed(self._channel)
        before = self._requests.enter(run)
        try:
            self._enter()
            self._serve_deeper(run, head, buffers)
            if left_behind:
                self.catch_up()
        except Closed:  # the worker is leaving
            pass
        finally:
            self._leave()
            self._requests.leave(before)
            self._requests.end_beside(run)

    def _serve_one(self) -> None:
        head, buffers = self._receive()
        if is_answer(head):
            self._take_answer(head, buffers)
        else:
            self.serve(head, buffers, within=self._requests.current())

    def _check_open(self) -> None:
        if self._closed:
            raise erlang.Interrupted("the worker is leaving")

    def _enter(self) -> None:
        if self._levels == 0:
            self._used.acquire()
        self._levels += 1

    def _leave(self) -> None:
        self._levels -= 1
        if self._levels == 0:
            self._used.release()
            if self._leaving:
                self.close()

    def close(self) -> None:
        """Close it now, or as soon as its thread has done with it; from any thread."""
        self._leaving = True
        # Never waits: the thread may have gone with the lock (a daemon's, at the end of Python).
        if self._used.acquire(blocking=False):
            try:
                if not self._closed:
                    self._closed = True
                    self._channel.close()
            finally:
                self._used.release()


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
    return _FAILURES.get(kind, erlang.ElixirError)(payload[0])


_FAILURES: "dict[str, type[Exception]]" = {
    "unknown": erlang.UnknownFunction,
    "type": TypeError,
}
