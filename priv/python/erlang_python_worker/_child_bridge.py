"""Calls into Elixir from a child process of a worker: docs/protocol.md, "Child processes"."""

import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Optional

import erlang
from erlang_python_worker import _protocol as wire
from erlang_python_worker._calling import Calling, in_context
from erlang_python_worker._channel import Channel, Closed
from erlang_python_worker._direct_channel import DirectConnector
from erlang_python_worker._lines import Line, Message, left_behind
from erlang_python_worker._protocol import HEAD_SIZE
from erlang_python_worker._runner import Limits

if TYPE_CHECKING:
    from erlang_python_worker._loop_lines import LoopLine, LoopLines

_GONE = "the worker of which this process is a child has ended"


class ChildBridge(Calling):
    """See `erlang._child` for the arguments. Threads and event loops have channels of their own.

    They are opened when they are first needed, and no request ever comes on them.
    """

    def __init__(
        self,
        endpoint: str,
        token: str,
        max_message_size: int,
        request: int,
        context: "Optional[int]",
    ) -> None:
        self._beam = DirectConnector(endpoint)
        self._prefix = f"{token}/c{os.getpid()}."
        self._numbers = itertools.count(1)
        self._limits = Limits()
        self._limits.max_message_size = max_message_size
        self._request = request
        self._context = context
        self._threads = threading.local()
        self._making_loops = threading.Lock()
        self._loops: "Optional[LoopLines]" = None
        left_behind.clear()  # in a forked child: what its parent sends

    def line(self) -> "ChildLine":
        line: "Optional[ChildLine]" = getattr(self._threads, "line", None)
        if line is None or line.closed:
            line = self._threads.line = ChildLine(self._open(), self._limits)
        return line

    def log(self, body: "list[Any]") -> bool:
        return False

    def _open(self) -> Channel:
        try:
            return self._beam.connect(f"{self._prefix}{next(self._numbers)}")
        except Closed:
            raise ConnectionError(
                f"Elixir refuses process {os.getpid()}: its worker has ended, or it has left the "
                "worker's process group (os.setsid, os.setpgid)"
            ) from None

    def _loop_line(self) -> "LoopLine":
        with self._making_loops:
            if self._loops is None:
                from erlang_python_worker._loop_lines import LoopLines

                self._loops = LoopLines(self._open, self._limits, _NoShield())
        return self._loops.line()

    def _parent(self) -> int:
        return self._request

    def _callback(
        self, function: Any, args: "tuple[Any, ...]", kwargs: "dict[str, Any]"
    ) -> "list[Any]":
        return in_context(super()._callback(function, args, kwargs), self._context)


class ChildLine(Line):
    """The line of one thread."""

    closed = False

    def call(self, kind: int, body: "list[Any]") -> Any:
        key = self.next_key()
        with self._exchange():
            self.send(kind, key, body)
            answer = self._answer(key)
        return self.read(*answer)

    def tell(self, kind: int, body: "list[Any]") -> None:
        with self._exchange():
            self.send(kind, bytes(8), body)
            self.catch_up()

    @contextmanager
    def _exchange(self) -> "Iterator[None]":
        try:
            yield
        except Closed:
            self._close()
            raise erlang.Interrupted(_GONE) from None
        except Exception:  # of what can't be encoded
            raise
        except BaseException:
            # It may be in the middle of a message; and so Elixir knows that nobody waits.
            self._close()
            raise

    def _answer(self, key: bytes) -> Message:
        while True:
            head = self._channel.receive_head()
            buffers = self._channel.receive_buffers() if head[0] & wire.BUFFERS_FOLLOW else []
            if head[1:HEAD_SIZE] == key:
                self.catch_up()
                return head, buffers

    def _close(self) -> None:
        self.closed = True
        self._channel.close()

    def __del__(self) -> None:
        self._close()


class _NoShield:
    """Nothing is interrupted here but by signals of the user's own."""

    def shield(self) -> bool:
        return False

    def expose(self, armed: bool) -> None:
        pass
