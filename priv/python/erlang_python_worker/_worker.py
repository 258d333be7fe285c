"""The main thread: receive, run, send, with no other thread in between."""

import sys
from typing import Callable, Optional

from msgpack import packb

from erlang_python_worker import _protocol as wire
from erlang_python_worker._channel import Channel, Closed
from erlang_python_worker._execute import Executor
from erlang_python_worker._process import Forks
from erlang_python_worker._protocol import HEAD_SIZE, ProtocolError
from erlang_python_worker._requests import Requests, Stop
from erlang_python_worker._runner import GUARDED, Limits, Runner


class Worker:
    def __init__(
        self,
        channel: Channel,
        requests: Requests,
        executor: Executor,
        forks: Forks,
        limits: Limits,
    ):
        self._channel = channel
        self._requests = requests
        self._executor = executor
        self._forks = forks
        self._limits = limits
        self._runner = Runner(executor, forks, limits, requests)
        self._flush: "Callable[[], None]" = getattr(sys.stdout, "flush", lambda: None)
        requests.guarded = GUARDED

    def set_up(self) -> "Optional[bytes]":
        """Answer HELLO's SETUP; gives the body of FAILED if that did not work."""
        try:
            head, buffers = self._receive()
            if not head or head[0] & wire.TYPE != wire.SETUP:
                raise ProtocolError("SETUP comes first")
            setup = self._runner.decode(head[HEAD_SIZE:], buffers)
            self._limits.max_message_size = setup["max_message_size"]
            sys.path[:0] = setup["paths"]
            for kind, text in setup["preload"]:
                self._executor.preload(kind, text)
        except BaseException as error:  # SystemExit too: a module that exits did not load
            from erlang_python_worker._errors import describe

            return bytes(packb(describe(error)))
        return None

    def serve(self) -> None:
        """Take requests until the worker is to end."""
        requests = self._requests
        try:
            while not requests.stopping:
                self._serve(*self._receive())
            requests.stopped = True
        except (Stop, Closed):
            pass

    def _receive(self) -> "tuple[bytes, list[memoryview]]":
        head = self._channel.receive_head()
        if head and head[0] & wire.BUFFERS_FOLLOW:
            return head, self._channel.receive_buffers()
        return head, []

    def _serve(self, head: bytes, buffers: "list[memoryview]") -> None:
        if len(head) < HEAD_SIZE:
            head = bytes(HEAD_SIZE)  # of no type: an error of no request
        request = head[1:HEAD_SIZE]
        if not self._requests.begin(request):
            return
        kind, body, out_of_band = self._runner.run(head, buffers)
        if self._forks.is_child:
            self._forks.leave(None)
        try:
            self._flush()
        except Exception:  # stdout is the user's to close
            pass
        message = kind + request + body
        if out_of_band or len(message) >= wire.OUT_OF_BAND:
            self._channel.send(message, out_of_band)
        else:
            self._channel.send_head(message)
        self._requests.end()
