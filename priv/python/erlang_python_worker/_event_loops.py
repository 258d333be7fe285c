"""Whatever needs asyncio, which takes longer to import than the rest of a worker does to start."""

import threading
from typing import TYPE_CHECKING, Any, Callable, Optional

from erlang_python_worker._channel import Channel
from erlang_python_worker._process import Forks
from erlang_python_worker._requests import Requests
from erlang_python_worker._runner import Limits, Runner

if TYPE_CHECKING:
    from erlang_python_worker._loop import Loop
    from erlang_python_worker._loop_lines import LoopLine, LoopLines
    from erlang_python_worker._thread_line import ThreadLine


class EventLoops:
    """The worker's own event loops, and the lines of all loops; each made when it is first needed.

    There is one that requests run on. Another is made for what a coroutine asks for while it blocks
    its loop: a callback of `erlang.call` may call coroutines in turn.

    Args:
        open_channel: opens one for an event loop.
        new_runner: makes one for a loop of the worker's.
    """

    def __init__(
        self,
        open_channel: "Callable[[], Channel]",
        new_runner: "Callable[[], Runner]",
        limits: Limits,
        requests: Requests,
        forks: Forks,
    ) -> None:
        self._open_channel = open_channel
        self._new_runner = new_runner
        self._limits = limits
        self._requests = requests
        self._forks = forks
        self._lines: "Optional[LoopLines]" = None
        self._loops: "list[Loop]" = []
        self._lock = threading.RLock()

    def line(self) -> "LoopLine":
        """That of the loop that runs in this thread."""
        return self._get_lines().line()

    def adopt(self, line: "ThreadLine") -> None:
        """The line is the calling thread's."""
        for loop in self._loops:
            if loop.ident == threading.get_ident():
                loop.thread_line = line

    def take(self, coroutine: Any, face: Any) -> None:
        """Run the coroutine that a request gave; see `Loop.take`."""
        try:
            with self._lock:
                loop = self._pick()
            loop.take(coroutine, face)
        except BaseException:
            coroutine.close()
            raise

    def blocks(self, thread: int) -> bool:
        """Does the loop of that thread wait for what the calling thread is to do?"""
        return self._nested() and any(loop.ident == thread and loop.waits() for loop in self._loops)

    def _nested(self) -> bool:
        """Was the calling thread's request made by a callback that a loop waits for?"""
        return any(loop.ident == threading.get_ident() for loop in self._loops)

    def _pick(self) -> "Loop":
        loops = self._loops
        nested = self._nested()
        for loop in loops:
            # Only then: other requests wait for their turn, on the loop that all share.
            if not (nested and loop.waits()):
                return loop
        from erlang_python_worker._loop import Loop

        loop = Loop(self._get_lines(), self._requests, self._new_runner(), self._forks)
        loops.append(loop)
        return loop

    def _get_lines(self) -> "LoopLines":
        with self._lock:
            if self._lines is None:
                from erlang_python_worker._loop_lines import LoopLines

                self._lines = LoopLines(self._open_channel, self._limits, self._requests)
            return self._lines

    def end(self) -> None:
        for loop in self._loops:
            loop.end()
        if self._lines is not None:
            self._lines.end()
