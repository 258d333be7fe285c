"""The line of a thread beside the main one: callbacks, and requests that run there."""

import threading
from typing import Any, Optional

import erlang
from erlang._request import Running
from erlang_python_worker._channel import Channel, Closed
from erlang_python_worker._lines import BlockingLine, is_answer, left_behind
from erlang_python_worker._output import Printed
from erlang_python_worker._protocol import HEAD_SIZE
from erlang_python_worker._requests import Requests
from erlang_python_worker._runner import Limits, Server


class ThreadLine(BlockingLine):
    """May be closed by any thread."""

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
