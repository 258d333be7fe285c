"""Asynchronous iterators as streams: they run on the worker's event loop."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Callable, Optional

from erlang import _request
from erlang_python_worker._encoder import Encoder
from erlang_python_worker._requests import Requests
from erlang_python_worker._streams import COLLECT_S, Chunk


class AsyncStream:
    """An open asynchronous iterator; see `Stream`.

    All of it runs in one task, the pump, which fills the chunk of the pull that waits and pauses
    between two pulls. A pull that has some items leaves with them while the pump waits for the
    next one; the next pull finds that. The iterator is closed there too: what its code has entered
    in one task (a timeout, a task group, the token of a context variable) can't be left in another.
    That task stays on the loop on which it began.

    Attributes:
        encoder: of its items; its own, since the thread that opens it has another than the loop's.
    """

    context: Any = None
    closed = False

    def __init__(self, iterator: Any, face: int, encoder: Encoder) -> None:
        self.face = face
        self.encoder = encoder
        self._iterator = iterator
        # What the iterator does is done for the request that waits for it, also in tasks and
        # threads that an earlier one has started.
        self._asker = _request.Running(b"")
        self._pump: "Optional[asyncio.Task[None]]" = None
        # The loop keeps no reference to it.
        self._closing: "Optional[asyncio.Task[None]]" = None
        self._loop: "Optional[asyncio.AbstractEventLoop]" = None
        # Of that loop.
        self.thread = 0
        # Of the pull that waits: what it fills, whether it takes the next item that comes, and its
        # future, which says whether the iterator has ended.
        self._chunk: "Optional[Chunk]" = None
        self._hurry = False
        self._filled: "Optional[asyncio.Future[bool]]" = None
        # Set while the pump waits for a pull.
        self._demand: "Optional[asyncio.Future[None]]" = None
        self._failure: "Optional[BaseException]" = None
        # What closing the iterator raised.
        self._unclosed: "Optional[BaseException]" = None

    async def take(self, chunk: Chunk) -> bool:
        """Fill a chunk; says whether the iterator has ended. Raises what that raises."""
        if self._loop is None:
            self._loop, self.thread = asyncio.get_running_loop(), threading.get_ident()
        return bool(await self._there(self._take, chunk))

    async def _there(self, step: "Callable[..., Coroutine[Any, Any, Any]]", *args: Any) -> Any:
        """Await it on the iterator's loop."""
        loop = self._loop
        if loop is None or loop is asyncio.get_running_loop():
            return await step(*args)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(step(*args), loop))

    async def _take(self, chunk: Chunk) -> bool:
        if self._failure is not None:
            raise self._failure
        self._asker.pull = _request._current()
        loop = asyncio.get_running_loop()
        self._chunk, self._hurry = chunk, False
        filled: "asyncio.Future[bool]" = loop.create_future()
        self._filled = filled
        if self._pump is None:
            self._pump = loop.create_task(self._run())
        elif self._demand is not None:
            self._demand.set_result(None)
            self._demand = None
        await asyncio.wait({filled}, timeout=COLLECT_S)
        if not filled.done() and not chunk.empty:
            self._chunk = self._filled = None
            return False
        self._hurry = True
        try:
            return await filled
        finally:
            del filled  # what it raises refers to this frame

    async def _run(self) -> None:
        Requests.enter(self._asker)
        try:
            try:
                async for item in self._iterator:
                    await self._put(item)
            finally:
                await self._close_iterator()
            if self._filled is None:
                await self._pause()
            self._fill(True)
        except BaseException as error:
            filled, self._filled = self._filled, None
            cancelled = isinstance(error, asyncio.CancelledError)
            if filled is None or filled.done():
                self._failure = error
            elif cancelled and self.closed:
                filled.set_result(True)
            else:
                filled.set_exception(error)
            del filled  # the error that it holds refers to this frame
            if cancelled:
                raise

    async def _put(self, item: Any) -> None:
        while True:
            chunk = self._chunk
            if chunk is None:
                await self._pause()
                continue
            more = chunk.add(item)
            if more and not self._hurry:
                return
            overflow, chunk.overflow = chunk.overflow, None
            self._fill(False)
            await self._pause()
            if overflow is None:
                return
            # It did not fit with those before it; alone it does.

    def _fill(self, ended: bool) -> None:
        filled, self._filled, self._chunk = self._filled, None, None
        if filled is not None and not filled.done():
            filled.set_result(ended)

    async def _pause(self) -> None:
        """Wait for the next pull."""
        if self.closed:  # the iterator has caught the cancellation
            raise asyncio.CancelledError
        if self._chunk is None:
            self._demand = asyncio.get_running_loop().create_future()
            await self._demand

    def fail_later(self, error: BaseException) -> None:
        self._failure = error

    async def close(self) -> None:
        """Run its `finally`."""
        await self._there(self._close)

    def close_later(self) -> None:
        """Close it when its loop goes on, which tells of what that raises."""
        loop = self._loop
        assert loop is not None

        def begin() -> None:
            self._closing = loop.create_task(self._close())

        loop.call_soon_threadsafe(begin)

    async def _close(self) -> None:
        self.closed = True
        self._asker.pull = _request._current()
        pump = self._pump
        if pump is None:
            await self._close_iterator()
        elif not pump.done():
            pump.cancel()
            await asyncio.wait({pump})
        if self._unclosed is not None:
            raise self._unclosed

    async def _close_iterator(self) -> None:
        close = getattr(self._iterator, "aclose", None)
        if close is None:
            return
        try:
            await close()
        except BaseException as error:
            self._unclosed = error
            raise
