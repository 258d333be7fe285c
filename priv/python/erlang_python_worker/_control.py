"""The control channel: served beside the main thread, so that it answers while code runs."""

import sys
import threading
from typing import Any, Callable

from msgpack import packb

from erlang_python_worker import _protocol as wire
from erlang_python_worker._channel import Channel, Closed
from erlang_python_worker._memory import resident_bytes
from erlang_python_worker._requests import Requests
from erlang_python_worker._streams import Streams

# Between two signals to a main thread that has not acted on the first: it was about to block
# when that came, or C code holds it.
_FIRST_PAUSE_MS = 5
_LAST_PAUSE_MS = 100


class Control(threading.Thread):
    def __init__(
        self,
        channel: Channel,
        requests: Requests,
        streams: Streams,
        beside: "Callable[[bytes, Channel], None]",
    ) -> None:
        super().__init__(name="erlang_python control", daemon=True)
        self._channel = channel
        self._requests = requests
        self._streams = streams
        self._beside = beside

    def run(self) -> None:
        try:
            while True:
                self._wait()
                self._attend(self._channel.receive_head())
        except Closed:  # the main thread is leaving, or the BEAM has left
            self._channel.close()

    def _wait(self) -> None:
        """Wait for a message as long as there is a signal to repeat."""
        pause = _FIRST_PAUSE_MS
        while self._requests.signal_pending():
            if self._channel.wait(pause):
                return
            self._requests.repeat_signal()
            pause = min(2 * pause, _LAST_PAUSE_MS)

    def _attend(self, head: bytes) -> None:
        try:
            self._serve(head)
        except Closed:
            raise
        except Exception as error:  # whatever it is: without this thread nothing can be stopped
            sys.__excepthook__(type(error), error, error.__traceback__)

    def _serve(self, head: bytes) -> None:
        kind, request_id = head[:1], head[1 : wire.HEAD_SIZE]
        if kind == _CANCEL:
            interrupt = head[wire.HEAD_SIZE :] == _TRUE
            state = self._requests.cancel(request_id, interrupt)
            self._answer(wire.CANCEL_ACK, request_id, state)
        elif kind == _PING:
            pong = {"rss": resident_bytes(), "running": self._requests.running}
            self._answer(wire.PONG, request_id, pong)
        elif kind == _FLUSH:
            items = self._streams.flush(request_id)
            self._send(wire.FLUSHED, request_id, packb(None) if items is None else items)
        elif kind == _MOVE:
            self._requests.move(request_id)
        elif kind == _STACKS:
            # Not before it is needed: it imports the traceback module.
            from erlang_python_worker._stacks import stacks

            self._answer(wire.STACKED, request_id, stacks())
        elif kind == _SHUTDOWN:
            self._requests.stop()
        elif len(head) >= wire.HEAD_SIZE:
            self._beside(head, self._channel)

    def _answer(self, kind: int, request_id: bytes, body: Any) -> None:
        self._send(kind, request_id, packb(body))

    def _send(self, kind: int, request_id: bytes, body: bytes) -> None:
        message = kind.to_bytes(1, "big") + request_id + body
        if len(message) < wire.OUT_OF_BAND:
            self._channel.send_head(message)
        else:
            self._channel.send(message)


_TRUE = packb(True)
_CANCEL, _PING, _SHUTDOWN, _FLUSH, _STACKS, _MOVE = (
    bytes((kind,))
    for kind in (wire.CANCEL, wire.PING, wire.SHUTDOWN, wire.FLUSH, wire.STACKS, wire.MOVE)
)
