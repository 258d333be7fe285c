"""A DEALER of libzmq, by pyzmq."""

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Callable, cast

import zmq
from zmq.backend import Context, Socket, zmq_poll

from erlang_python_worker._channel import Closed
from erlang_python_worker._protocol import OUT_OF_BAND

# For messages that must still leave when the process ends: FAILED, the last RESULT.
_LINGER_AT_END_MS = 2_000
# Messages of other threads that may wait for the owner to send something.
_MOST_POSTED = 10_000


class PyzmqConnector:
    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._context = Context()

    def connect(self, routing_id: str) -> "PyzmqChannel":
        return PyzmqChannel(self._context, self._endpoint, routing_id)

    def end(self) -> None:
        # Waits for what still has to leave; receivers get ContextTerminated.
        self._context.term()


class PyzmqChannel:
    """See `Channel`."""

    def __init__(self, context: "Context", endpoint: str, routing_id: str) -> None:
        # The backend's class: pyzmq's own subclass adds 0.4 us of Python to each send.
        socket = Socket(context, zmq.DEALER)
        socket.set(zmq.ROUTING_ID, routing_id.encode())
        # The BEAM bounds what is in flight; a limit here would only block or drop.
        socket.set(zmq.RCVHWM, 0)
        socket.set(zmq.SNDHWM, 0)
        socket.set(zmq.LINGER, 0)
        # A new connection would get the messages of the old one (libzmq keeps its pipe).
        socket.set(zmq.RECONNECT_IVL, -1)
        socket.connect(endpoint)
        self._socket = socket
        self._owner = threading.get_ident()
        self._posted: "deque[bytes]" = deque()
        self._busy = False
        self._polled = False
        self._receive: Callable[[], bytes] = cast(Any, socket).recv
        self._send: Callable[[bytes], None] = cast(Any, socket).send

    def receive_head(self) -> bytes:
        try:
            return self._receive()
        except zmq.ContextTerminated:
            raise Closed("the worker is leaving") from None

    def send_head(self, head: bytes) -> None:
        if self._posted:
            self._send_posted()
        self._send(head)

    def post(self, head: bytes) -> None:
        # Only its owner may use a socket of libzmq, so what others post waits for that. Who polls
        # the descriptor would have to be told to look again.
        at_once = threading.get_ident() == self._owner and not self._polled and not self._busy
        if len(self._posted) >= _MOST_POSTED and not at_once:
            raise BlockingIOError("too much waits for the thread that owns the channel")
        self._posted.append(head)
        if at_once:
            try:
                self._send_posted()
            except zmq.ZMQError as error:
                raise BrokenPipeError(str(error)) from None

    def _send_posted(self) -> None:
        # A destructor or a signal handler may post in the middle of this.
        self._busy = True
        try:
            while self._posted:
                self._send(self._posted.popleft())
        finally:
            self._busy = False

    def wait(self, timeout_ms: "int | None") -> bool:
        timeout = -1 if timeout_ms is None else timeout_ms
        try:
            return bool(zmq_poll([(self._socket, zmq.POLLIN)], timeout))
        except zmq.ContextTerminated:
            raise Closed("the worker is leaving") from None

    edge_triggered = True

    def fileno(self) -> int:
        self._polled = True
        return cast(int, self._socket.get(zmq.FD))

    def receive_buffers(self) -> "list[Any]":
        buffers = []
        while self._socket.get(zmq.RCVMORE):
            buffers.append(cast(Any, self._socket.recv(copy=False)).buffer)
        return buffers

    def send(self, head: bytes, buffers: "Sequence[Any]" = ()) -> None:
        self._send_posted()
        self._busy = True
        try:
            self._send_frames(head, buffers)
        finally:
            self._busy = False

    def _send_frames(self, head: bytes, buffers: "Sequence[Any]") -> None:
        # A buffer that can be written to is lent to libzmq until this returns.
        last = len(buffers)
        flags = zmq.SNDMORE if last else 0
        send = cast(Any, self._socket).send
        send(head, flags, copy=len(head) < OUT_OF_BAND)
        trackers = []
        for index, data in enumerate(buffers, 1):
            flags = zmq.SNDMORE if index < last else 0
            lent = not isinstance(data, bytes)
            tracker = send(data, flags, copy=False, track=lent)
            if lent:
                trackers.append(tracker)
        for tracker in trackers:
            tracker.wait()

    def close(self) -> None:
        try:
            self._socket.set(zmq.LINGER, _LINGER_AT_END_MS)
        except zmq.ContextTerminated:  # too late to linger, never to close: `end` waits for that
            pass
        self._socket.close()
