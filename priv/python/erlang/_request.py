from time import monotonic
from typing import Any, Callable, Optional

from erlang._calls import bridge

# Until somebody asks for it.
_NOT_ASKED = object()


class Running:
    """What the worker knows of a request while it runs."""

    # On the class, so that the many requests to which nothing of it happens cost no time for it.
    cancelled = False
    namespace: Any = None  # of its context, if it has one
    detached = False  # it goes on elsewhere than where it began
    wanted = False
    interrupted = False
    ended = False  # nobody takes its output any more
    progress: Any = None  # the pid that gets it, if anybody does
    progressed = 0.0  # when it last told of it
    bar_open = False  # has it drawn a bar that is not full yet?
    input_rest = ""  # of the line that it has read a part of (_process.py)
    output: Any = None  # what it has printed (_output.py); made when it prints
    deadline: Any = _NOT_ASKED
    trace: Any = None  # the trace that it belongs to, if it came with one (_tracing.py)
    # Of what stands for the request that pulls an asynchronous stream: that.
    pull: "Optional[Running]" = None

    def __init__(self, key: bytes, stop: "Optional[Callable[[], None]]" = None) -> None:
        self.key = key  # its id as it is on the wire
        self.stop = stop

    @property
    def id(self) -> int:
        return int.from_bytes(self.key, "big")


def _none() -> "Optional[Running]":
    return None


# Set by the worker before it takes requests; processes that serve none have none.
_current: "Callable[[], Optional[Running]]" = _none


class Request:
    """The request that is being served.

    Attributes:
        id: its number, unique in this worker.
    """

    __slots__ = ("_running", "id")

    def __init__(self, running: Running) -> None:
        self.id = running.id
        self._running = running

    @property
    def deadline(self) -> "Optional[float]":
        """When the time of whoever waits for it is up, in seconds as `time.monotonic` counts them.

        ``None`` if it has no timeout. The parts of a stream have none: its reader waits anew for
        each.
        """
        running = self._running
        if running.deadline is _NOT_ASKED:
            left = bridge().service("time_left", running.id)
            running.deadline = None if left is None else monotonic() + left / 1_000
        found: "Optional[float]" = running.deadline
        return found

    @property
    def cancelled(self) -> bool:
        """Has Elixir said that nobody waits for the result any more?"""
        return self._running.cancelled

    @property
    def traceparent(self) -> "Optional[str]":
        """The trace that the request belongs to, as the W3C header; ``None`` if it came without."""
        trace = self._running.trace
        return None if trace is None else trace.traceparent

    @property
    def tracestate(self) -> str:
        """What other tracing systems have added to the trace, as the W3C header; empty if none."""
        trace = self._running.trace
        return "" if trace is None else trace.tracestate

    def __repr__(self) -> str:
        return f"<erlang.Request {self.id}{' cancelled' if self.cancelled else ''}>"


def current_request() -> "Optional[Request]":
    """The request on whose behalf this code runs.

    In a thread it is that of the code which started the thread, in a coroutine that of the call
    which made it; ``None`` where there is none.
    """
    running = _current()
    return None if running is None else Request(running)
