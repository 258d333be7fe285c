"""Whatever needs asyncio, which takes longer to import than the rest of a worker does to start."""

import threading
from typing import TYPE_CHECKING, Any, Callable, Optional

from erlang_python_worker._channel import Channel
from erlang_python_worker._requests import Requests
from erlang_python_worker._runner import Limits, Runner

if TYPE_CHECKING:
    from erlang_python_worker._loop import Loop
    from erlang_python_worker._loop_lines import LoopLine, LoopLines


class EventLoops:
    """The worker's own event loop, and the lines of all loops; each made when it is first needed.

    Args:
        open_channel: opens one for an event loop.
        new_runner: makes one for the worker's loop.
    """

    def __init__(
        self,
        open_channel: "Callable[[], Channel]",
        new_runner: "Callable[[], Runner]",
        limits: Limits,
        requests: Requests,
    ) -> None:
        self._open_channel = open_channel
        self._new_runner = new_runner
        self._limits = limits
        self._requests = requests
        self._lines: "Optional[LoopLines]" = None
        self._loop: "Optional[Loop]" = None
        self._lock = threading.RLock()

    def line(self) -> "LoopLine":
        """That of the loop that runs in this thread."""
        return self._get_lines().line()

    def take(self, coroutine: Any, face: Any) -> None:
        """Run the coroutine that a request gave; see `Loop.take`."""
        with self._lock:
            if self._loop is None:
                from erlang_python_worker._loop import Loop

                self._loop = Loop(self._get_lines(), self._requests, self._new_runner())
        self._loop.take(coroutine, face)

    def _get_lines(self) -> "LoopLines":
        with self._lock:
            if self._lines is None:
                from erlang_python_worker._loop_lines import LoopLines

                self._lines = LoopLines(self._open_channel, self._limits)
            return self._lines

    def end(self) -> None:
        if self._loop is not None:
            self._loop.end()
        if self._lines is not None:
            self._lines.end()
