"""Lines of event loops: coroutines call into the BEAM without blocking each other.

All coroutines of a loop share one channel, whose answers find their futures by the callback's id.
No request ever comes on it: no thread waits in a coroutine's callback.
"""

import asyncio
import contextvars
import weakref
from typing import Any, Callable, Protocol

from erlang._request import Running
from erlang_python_worker import _protocol as wire
from erlang_python_worker._channel import Channel, Closed
from erlang_python_worker._lines import Line, Message, is_answer
from erlang_python_worker._output import printed_by
from erlang_python_worker._protocol import HEAD_SIZE
from erlang_python_worker._runner import Limits


class Shield(Protocol):
    """Keeps interrupts out of what it stands around: `Requests`."""

    def shield(self) -> bool: ...

    def expose(self, armed: bool) -> None: ...


class LoopLine(Line):
    """No interrupt is raised while it sends or receives: a loop may run on the main thread."""

    def __init__(
        self,
        channel: Channel,
        limits: Limits,
        interrupts: Shield,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(channel, limits)
        self._interrupts = interrupts
        self._waiting: "dict[bytes, asyncio.Future[Message]]" = {}
        # Weak: the line must go with its loop.
        self._loop = weakref.ref(loop)
        # Not in the context of the request that comes first, which would stay with it.
        contextvars.Context().run(loop.add_reader, channel.fileno(), self._read_all)

    @property
    def abandoned(self) -> bool:
        loop = self._loop()
        return loop is None or loop.is_closed()

    def awaits(self) -> bool:
        """Does a coroutine wait for an answer?"""
        return bool(self._waiting)

    async def call(self, kind: int, body: "list[Any]") -> Any:
        loop = asyncio.get_running_loop()
        key = self.next_key()
        future: "asyncio.Future[Message]" = loop.create_future()
        self._waiting[key] = future
        try:
            armed = self._interrupts.shield()
            try:
                self.send(kind, key, body)
                self._look_again(loop)
            finally:
                self._interrupts.expose(armed)
            answer = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.drop(*future.result())
            raise
        finally:
            self._waiting.pop(key, None)
        return self.read(*answer)

    def adopt(self, run: Running) -> None:
        """From here on what the request prints goes where its end will go."""
        printed_by(run, self._channel).channel = self._channel

    def reply(self, head: bytes, buffers: "list[Any]") -> None:
        """Send the end of a request that ran on the loop."""
        if buffers or len(head) >= wire.OUT_OF_BAND:
            self._channel.send(head, buffers)
        else:
            self._channel.send_head(head)
        self._look_again(asyncio.get_running_loop())

    def _look_again(self, loop: asyncio.AbstractEventLoop) -> None:
        # libzmq tells of changes only, and a send may have taken note of one.
        if self._channel.edge_triggered:
            loop.call_soon(self._read_all)

    def _read_all(self) -> None:
        armed = self._interrupts.shield()
        try:
            while self._channel.wait(0):
                head = self._channel.receive_head()
                buffers = self._channel.receive_buffers() if head[0] & wire.BUFFERS_FOLLOW else []
                future = self._waiting.pop(head[1:HEAD_SIZE], None)
                if future is not None and not future.done():
                    future.set_result((head, buffers))
                elif is_answer(head):
                    self.drop(head, buffers)
                    self.catch_up()
        except Closed as closed:
            self._end(closed)
        finally:
            self._interrupts.expose(armed)

    def _end(self, closed: Closed) -> None:
        loop = self._loop()
        if loop is not None and not loop.is_closed():
            loop.remove_reader(self._channel.fileno())
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionError(str(closed)))

    def close(self) -> None:
        loop = self._loop()
        if loop is not None and not loop.is_closed():
            loop.remove_reader(self._channel.fileno())
        self._channel.close()


class LoopLines:
    """One line per event loop that needs it."""

    def __init__(
        self, open_channel: "Callable[[], Channel]", limits: Limits, interrupts: Shield
    ) -> None:
        self._open_channel = open_channel
        self._limits = limits
        self._interrupts = interrupts
        self._lines: "dict[int, LoopLine]" = {}

    def line(self) -> LoopLine:
        """That of the loop that runs in this thread."""
        loop = asyncio.get_running_loop()
        line = self._lines.get(id(loop))
        return self.open(loop) if line is None or line.abandoned else line

    def open(self, loop: asyncio.AbstractEventLoop) -> LoopLine:
        """Make one for a loop that has none, in its thread or before it runs."""
        self._close_abandoned()
        line = LoopLine(self._open_channel(), self._limits, self._interrupts, loop)
        self._lines[id(loop)] = line
        return line

    def _close_abandoned(self) -> None:
        for key, line in list(self._lines.items()):
            if line.abandoned and self._lines.pop(key, None) is not None:
                line.close()

    def end(self) -> None:
        """Close those that no loop uses; the others end with their loops."""
        self._close_abandoned()
