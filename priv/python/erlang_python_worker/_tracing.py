"""Traces: what a request brings of one, and the spans that Python code adds to it.

Theory of operation. A request that belongs to a trace, or whose time is to be taken, comes as
`TRACED` (docs/protocol.md, "Traces"). While it runs, its `Trace` hangs at its `Running`, so all
code that works for the request finds it, in any thread or coroutine. A span that is open stands
in a context variable, beside the ids of the request that it belongs to: a generator may leave one
there when it yields, and the next request of the thread must not take it for its own.

Where the user's code has OpenTelemetry, its current span counts too. What this file makes current
there is known by its id, so that whatever else is current was put there by the user's code, and is
nearer.
"""

import os
import threading
import weakref
from collections import deque
from contextvars import ContextVar
from time import perf_counter_ns, time_ns
from typing import Any, Callable, Optional, Union

from erlang._request import Running
from erlang._span import Span
from erlang_python_worker import _otel
from erlang_python_worker import _protocol as wire
from erlang_python_worker._channel import Channel
from erlang_python_worker._otel import NO_SPAN, NO_TRACE, Position
from erlang_python_worker._process import Forks
from erlang_python_worker._protocol import HEAD_SIZE, End, ProtocolError
from erlang_python_worker._requests import Requests
from erlang_python_worker._span_data import pack_span

_TIMED, _RECORDED = 1, 2  # the bits of `mode`

_MOST_DROPPED = (1 << 32) - 1
# Spans that are sent in one message, at the latest at the end of their request.
_TOGETHER = 64
# What `TIMED` puts before the end that it carries.
_TIMED_SIZE = 17
_TIMED_ENDS = frozenset(
    kind | flag
    for kind in (wire.RESULT, wire.ERROR, wire.OPENED, wire.KEPT)
    for flag in (0, wire.BUFFERS_FOLLOW)
)
_SPANS = wire.head(wire.SPANS)

# The attribute of a thread that holds the span in which it was started.
SPAN = "_erlang_python_span"


class Trace:
    """What a `TRACED` request has brought.

    Attributes:
        position: the trace and the span above the request; None if only its time is taken.
        recording: are spans to be sent?
    """

    __slots__ = (
        "_clock",
        "_timed",
        "_tracing",
        "begun",
        "ended",
        "otel_id",
        "position",
        "recording",
        "run",
        "spans",
    )

    def __init__(self, tracing: "Tracing", run: Running, mode: int, position: Position) -> None:
        self._tracing = tracing
        self.run = weakref.ref(run)  # which refers to this
        self._timed = bool(mode & _TIMED)
        self.position = None if position.trace_id == NO_TRACE else position
        self.recording = bool(mode & _RECORDED) and self.position is not None
        self.otel_id = NO_SPAN
        self.spans: "deque[bytes]" = deque()
        self.ended = False
        self.begun = time_ns()
        self._clock = perf_counter_ns()

    @property
    def traceparent(self) -> "Optional[str]":
        return None if self.position is None else self.position.traceparent

    @property
    def tracestate(self) -> str:
        return "" if self.position is None else self.position.state

    def close(self) -> None:
        """Spans that end from now on are not kept until others have."""
        self.ended = True
        self._tracing.send(self)

    def finish(self, end: End) -> End:
        """The end of the request, with its times if they were asked for."""
        took = perf_counter_ns() - self._clock
        self.close()
        kind, body, buffers = end
        if not self._timed or kind[0] not in _TIMED_ENDS:
            return end
        if not self._tracing.fits(_TIMED_SIZE + len(body), buffers):
            return end
        kind, inner = bytes((wire.TIMED | kind[0] & wire.BUFFERS_FOLLOW,)), kind[0] & wire.TYPE
        times = self.begun.to_bytes(8, "big") + took.to_bytes(8, "big")
        return kind, times + bytes((inner,)) + body, buffers


class Open:
    """A span that has begun.

    Attributes:
        trace: that of its request; None if it belongs to none of Elixir's.
        root: the span above that request, by which spans of other requests are told apart.
        tokens: what undoes its being current.
    """

    __slots__ = (
        "begun",
        "clock",
        "otel",
        "otel_id",
        "parent_id",
        "position",
        "root",
        "tokens",
        "trace",
    )

    def __init__(
        self,
        trace: "Optional[Trace]",
        position: Position,
        parent_id: "Optional[bytes]",
        otel: Any,
    ) -> None:
        self.trace = trace
        self.root = None if trace is None else trace.position
        self.position = position
        self.parent_id = parent_id
        self.otel = otel
        self.otel_id = NO_SPAN if otel is None else position.span_id
        self.tokens: "tuple[Any, Any]" = (None, None)
        self.begun = time_ns()
        self.clock = perf_counter_ns()


_current: "ContextVar[Optional[Open]]" = ContextVar("erlang_python_span", default=None)


def current_span() -> "Optional[Open]":
    """The innermost span that is open, as far as this thread or task knows of one."""
    span = _current.get()
    if span is None:
        # `current_thread` would make an entry for a thread of C code's, and keep it.
        thread = threading._active.get(threading.get_ident())  # type: ignore[attr-defined]
        span = getattr(thread, SPAN, None)
    return span


def forget_span() -> None:
    """What runs in this context from now on is in no span."""
    _current.set(None)


class Tracing:
    """Runs traced requests, and serves `erlang.Span`.

    Args:
        channel: the main thread's.
        limits: has `max_message_size`.
    """

    def __init__(self, channel: Channel, requests: Requests, forks: Forks, limits: Any) -> None:
        self._channel = channel
        self._requests = requests
        self._forks = forks
        self._limits = limits
        self._dropped = 0

    # Requests

    def run(
        self,
        head: bytes,
        buffers: "list[Any]",
        attempt: "Callable[[bytes, list[Any]], End]",
    ) -> End:
        """Run the request in a `TRACED`, as if it had come without that."""
        kind = wire.request_type(head)
        if kind == wire.TRACED:
            raise ProtocolError("TRACED has a trace and a request")
        inner = bytes((head[0] & wire.BUFFERS_FOLLOW | kind,))
        run = self._requests.current()
        assert run is not None
        state = wire.trace_state(head).decode("latin-1")
        position = Position(head[10:26], head[26:34], head[34], state)
        trace = run.trace = Trace(self, run, head[HEAD_SIZE], position)
        token = None if trace.position is None else _otel.attach(trace.position)
        if token is not None:
            trace.otel_id = position.span_id
        try:
            end = attempt(inner + head[1:HEAD_SIZE] + wire.request_body(head), buffers)
            # It goes on elsewhere, and takes its trace along.
            return end if run.detached else trace.finish(end)
        finally:
            if token is not None:
                _otel.detach(token)
            if not (run.detached or trace.ended):
                trace.close()

    def fits(self, size: int, buffers: "list[Any]") -> bool:
        size += HEAD_SIZE + sum(memoryview(buffer).nbytes for buffer in buffers)
        return bool(size <= self._limits.max_message_size)

    def carried(self, run: "Optional[Running]") -> "Optional[bytes]":
        """What a callback carries of the trace in which the calling code runs."""
        trace = None if run is None else run.trace
        if trace is None and not _otel.loaded():
            return None
        position = self._position(trace)
        return None if position is None else position.packed

    def _position(self, trace: "Optional[Trace]") -> "Optional[Position]":
        """Where the calling code is in the trace of its request, or in one of its own."""
        root = None if trace is None else trace.position
        span = current_span()
        here: "Union[Open, Trace, None]" = trace
        if span is not None and span.root == root:
            here = span
        nearer = _otel.current()
        if nearer is not None:
            ours = [place.otel_id for place in (here, trace) if place is not None]
            if nearer.span_id not in ours:
                return nearer
        return None if here is None else here.position

    # Spans

    def begin(self, name: str, attributes: "dict[str, Any]") -> "Optional[Open]":
        """Begin a span, if somebody is there to whom it can be told."""
        if self._forks.is_child:
            return None
        run = self._requests.current()
        trace: "Optional[Trace]" = None if run is None else run.trace
        if not _otel.loaded() and (trace is None or not trace.recording):
            return None
        above = self._position(trace)
        otel = _otel.start(name, attributes, above)
        if otel is not None:
            position = _otel.position(otel)
        elif above is None:
            return None
        else:
            position = above._replace(span_id=os.urandom(8))
        return Open(trace, position, None if above is None else above.span_id, otel)

    def enter(self, span: Open) -> None:
        """It is current in the calling thread or task from now on."""
        otel = None if span.otel is None else _otel.enter(span.otel)
        span.tokens = _current.set(span), otel

    def leave(self, span: Open) -> None:
        token, otel = span.tokens
        span.tokens = (None, None)
        if otel is not None:
            _otel.detach(otel)
        try:
            if token is not None:
                _current.reset(token)
        except ValueError:
            # A generator that another thread or task has gone on with: nothing to be undone here.
            pass

    def end(self, opened: Open, span: Span) -> None:
        """Send it, and end it for OpenTelemetry."""
        took = perf_counter_ns() - opened.clock
        if opened.otel is not None:
            _otel.end(opened.otel, span, opened.begun + took)
        trace = opened.trace
        if trace is None or not trace.recording or self._forks.is_child:
            return
        ids = opened.position.trace_id, opened.position.span_id, opened.parent_id
        trace.spans.append(pack_span(span, ids, opened.begun, took))
        if trace.ended or len(trace.spans) >= _TOGETHER:
            self.send(trace)

    def send(self, trace: Trace) -> None:
        """Send the spans that have ended. Where they can't be sent they are counted."""
        spans = _take(trace.spans)
        if not spans:
            return
        dropped, self._dropped = self._dropped, 0
        message = _SPANS + _body(dropped, spans)
        armed = self._requests.shield()
        try:
            self._channel_of(trace).post(message)
        except OSError:
            self._dropped += dropped + len(spans)
        finally:
            self._requests.expose(armed)

    def _channel_of(self, trace: Trace) -> Channel:
        # Where the request's end will leave, so that this is there before.
        run = trace.run()
        if run is None or run.output is None or run.ended:
            return self._channel
        channel: Channel = run.output.channel
        return channel


# The functions in which an interrupt may still be raised when the code has ended, see _requests.py.
GUARDED = (Tracing.run.__code__, Trace.finish.__code__, Trace.close.__code__)


def _take(spans: "deque[bytes]") -> "list[bytes]":
    taken = []
    try:
        while True:
            taken.append(spans.popleft())
    except IndexError:
        return taken


def _body(dropped: int, spans: "list[bytes]") -> bytes:
    counts = min(dropped, _MOST_DROPPED).to_bytes(4, "big"), len(spans).to_bytes(4, "big")
    return b"".join((*counts, b"\xdd", counts[1], *spans))
