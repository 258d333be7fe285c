"""An event loop of the worker's: runs coroutines that requests give, in a thread of its own.

It is started by the first of them. Requests on it do not occupy the main thread, and their ends
leave on the loop's own channel.
"""

import asyncio
import contextvars
import threading
from functools import partial
from types import CoroutineType
from typing import Any, Optional

from erlang._request import Running
from erlang_python_worker._channel import Closed
from erlang_python_worker._lines import left_behind
from erlang_python_worker._loop_lines import LoopLine, LoopLines
from erlang_python_worker._loop_selector import LookingSelector, looking_loop
from erlang_python_worker._output import end_output
from erlang_python_worker._process import Forks
from erlang_python_worker._requests import Requests, Shared
from erlang_python_worker._runner import CANCELLED, Runner, message
from erlang_python_worker._thread_line import ThreadLine

# How long coroutines may take to end when the worker ends, in seconds.
_PATIENCE = 0.5

Task = asyncio.Task  # its parameter is not there in Python 3.9's class


class Loop:
    """Made with the first coroutine; see `EventLoops`.

    Args:
        runner: encodes results; the loop's alone.
    """

    def __init__(self, lines: LoopLines, requests: Requests, runner: Runner, forks: Forks) -> None:
        self._lines = lines
        self._requests = requests
        self._runner = runner
        self._forks = forks
        self._loop: "Optional[asyncio.AbstractEventLoop]" = None
        self._line: "Optional[LoopLine]" = None
        self._thread: "Optional[threading.Thread]" = None
        self._tasks: "dict[bytes, Task[Any]]" = {}
        self._leaving = False
        self._lock = threading.Lock()
        # What `erlang.call` in its thread waits on.
        self.thread_line: "Optional[ThreadLine]" = None

    @property
    def ident(self) -> "Optional[int]":
        """That of its thread."""
        return None if self._thread is None else self._thread.ident

    def waits(self) -> bool:
        """Does a coroutine block it until Elixir answers?"""
        return self.thread_line is not None and self.thread_line.waits

    def take(self, coroutine: "CoroutineType[Any, Any, Any]", face: Any) -> None:
        """Run the coroutine that the current request gave; its end comes from here."""
        loop = self._start()
        run = self._requests.detach()
        # Without the request itself, which would refer to itself.
        run.stop = partial(self._stop, loop, run.key)
        loop.call_soon_threadsafe(self._begin, loop, run, coroutine, face)
        # Told to stop while it moved: nobody has done so.
        if run.cancelled:
            run.stop()

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                # Its own callbacks stay in the context in which it is made.
                loop, selector = contextvars.Context().run(_new_loop)
                thread = Shared(
                    target=self._run, args=(loop,), name="erlang_python loop", daemon=True
                )
                try:
                    # Not when it is needed: a request whose end can't be sent has none.
                    self._line = self._lines.open(loop)
                    if selector is not None:
                        selector.awaited = self._line.awaits
                    thread.start()
                except BaseException:
                    loop.close()
                    raise
                self._loop, self._thread = loop, thread
            return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        # It is not one request's to end: `stop` returns from it, and these leave it when a task
        # that a request has started, or a callback, raises them.
        while not self._leaving:
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                told = f"{type(error).__name__} in a task or a callback that no request waits for"
                loop.default_exception_handler({"message": told, "exception": error})

    # In the loop's thread

    def _begin(
        self,
        loop: asyncio.AbstractEventLoop,
        run: Running,
        coroutine: "CoroutineType[Any, Any, Any]",
        face: Any,
    ) -> None:
        line = self._line
        assert line is not None
        # This is called in a context of its own, of which the task and its callback have copies.
        self._requests.enter(run)
        line.adopt(run)
        task = loop.create_task(self._serve(coroutine))
        self._tasks[run.key] = task
        task.add_done_callback(partial(self._ended, run, line, coroutine, face))

    async def _serve(self, coroutine: "CoroutineType[Any, Any, Any]") -> Any:
        try:
            value = await coroutine
        except BaseException as error:
            self._leave_child(error)
            # These would end the loop, which is not this request's alone.
            if isinstance(error, (SystemExit, KeyboardInterrupt)):
                return _Left(error)
            raise
        self._leave_child(None)
        return value

    def _leave_child(self, error: "Optional[BaseException]") -> None:
        """End a forked child whose coroutine came back, before it takes what is its parent's."""
        if self._forks.is_child:
            self._forks.leave(error)

    def _ended(
        self,
        run: Running,
        line: LoopLine,
        coroutine: "CoroutineType[Any, Any, Any]",
        face: Any,
        task: "Task[Any]",
    ) -> None:
        coroutine.close()  # it may never have begun
        self._tasks.pop(run.key, None)
        runner = self._runner
        if task.cancelled():
            cancelled = asyncio.CancelledError("the coroutine cancelled itself")
            end = CANCELLED if run.cancelled else runner.failure(cancelled)
        elif task.exception() is not None:
            error = task.exception()
            assert error is not None
            end = runner.failure(error)
        elif type(task.result()) is _Left:
            end = runner.failure(task.result().error)
        else:
            # A part of a stream has made its end itself.
            end = task.result() if face is None else runner.result(run.key, task.result(), face)
        if run.trace is not None:
            end = run.trace.finish(end)
        self._requests.finish(run)
        end_output(run)
        try:
            line.reply(*message(run.key, end))
            if left_behind:
                line.catch_up()
        except Closed:  # the worker is leaving
            pass

    def _stop(self, loop: asyncio.AbstractEventLoop, key: bytes) -> None:
        try:
            loop.call_soon_threadsafe(self._cancel, key)
        except RuntimeError:  # the loop has been closed
            pass

    def _cancel(self, key: bytes) -> None:
        task = self._tasks.get(key)
        if task is not None:
            task.cancel()

    # At the end of the worker

    def end(self) -> None:
        """Cancel what runs, and end the loop."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(lambda: loop.create_task(self._leave(loop)))
        thread.join(2 * _PATIENCE)
        if not thread.is_alive():
            loop.close()

    async def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_PATIENCE)
        await loop.shutdown_asyncgens()
        self._leaving = True
        loop.stop()


class _Left:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def _new_loop() -> "tuple[asyncio.AbstractEventLoop, Optional[LookingSelector]]":
    try:
        import uvloop  # type: ignore[import-not-found]
    except ImportError:
        return looking_loop(asyncio.new_event_loop())
    return uvloop.new_event_loop(), None
