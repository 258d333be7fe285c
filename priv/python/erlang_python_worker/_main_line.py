"""The line of the main thread, which is the worker's main channel: callbacks, and its requests."""

from collections import deque
from typing import Any, Callable, Optional

from msgpack import Unpacker, UnpackException

from erlang_python_worker import _protocol as wire
from erlang_python_worker._channel import Channel
from erlang_python_worker._kept import kept
from erlang_python_worker._lines import ANSWERS, BlockingLine, Message, is_answer
from erlang_python_worker._protocol import HEAD_SIZE
from erlang_python_worker._requests import Requests
from erlang_python_worker._runner import Limits, Server

# How long the main thread waits in a callback before others serve what only this worker can.
_PATIENCE_MS = 20
# Parts of streams: their readers wait for each of many, and few iterators mind the thread. One that
# does, such as a cursor of sqlite3, raises.
_PARTS = (wire.PULL, wire.CLOSE)
# Requests that may belong to a context.
_PLACED = (wire.CALL, wire.EVAL, wire.EXEC, wire.RUN, wire.STREAM_CALL, wire.STREAM_EVAL)
# Where in their bodies it stands.
_CONTEXT_AT = 5


class MainLine(BlockingLine):
    """Interrupts are raised while it waits, never while it sends or receives."""

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
            if kind not in ANSWERS:
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
            # The request may have been cancelled while one above it was on top.
            requests.expose(armed)
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
