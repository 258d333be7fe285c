from collections.abc import Sequence
from typing import Any, Callable, cast

import zmq
from zmq.backend import Context, Socket, zmq_poll

from erlang_python_worker._protocol import OUT_OF_BAND

# For messages that must still leave when the process ends: FAILED, the last RESULT.
_LINGER_AT_END_MS = 2_000


class Channel:
    """A DEALER connected to the BEAM's ROUTER.

    The rest of the worker knows only this class, so that another implementation of the
    wire can take its place. Not thread-safe: one owner.
    """

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
        self.receive_head: Callable[[], bytes] = cast(Any, socket).recv
        self.send_head: Callable[[bytes], None] = cast(Any, socket).send

    def wait(self, timeout_ms: int) -> bool:
        """Has a message come within the time?"""
        return bool(zmq_poll([(self._socket, zmq.POLLIN)], timeout_ms))

    def receive_buffers(self) -> "list[memoryview]":
        """The out-of-band frames that follow the head just received."""
        buffers = []
        while self._socket.get(zmq.RCVMORE):
            buffers.append(cast(Any, self._socket.recv(copy=False)).buffer)
        return buffers

    def send(self, head: bytes, buffers: "Sequence[Any]" = ()) -> None:
        """Send a message of any size.

        A buffer that can be written to is lent to libzmq until this returns, so that code
        that changes it afterwards does not change what the BEAM gets.
        """
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

    def close(self, linger: bool = False) -> None:
        if linger:
            self._socket.set(zmq.LINGER, _LINGER_AT_END_MS)
        self._socket.close()
