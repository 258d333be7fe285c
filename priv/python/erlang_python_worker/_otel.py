"""Python's OpenTelemetry, where the user's environment has it.

It is imported when the first request comes that belongs to a trace, or was by the user's code.
"""

import os
import sys
from importlib import import_module
from typing import Any, NamedTuple, Optional

from erlang._span import Span
from erlang_python_worker._import_hooks import loaded as _loaded

NO_TRACE, NO_SPAN = bytes(16), bytes(8)


class Position(NamedTuple):
    """A place in a trace: https://www.w3.org/TR/trace-context/."""

    trace_id: bytes
    span_id: bytes
    flags: int
    state: str = ""  # a `tracestate`: what other tracing systems have added

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id.hex()}-{self.span_id.hex()}-{self.flags:02x}"

    @property
    def packed(self) -> bytes:
        place = self.trace_id + self.span_id + bytes((self.flags,))
        return place + self.state.encode("latin-1", "replace")


_missing = False


def loaded() -> bool:
    return _loaded("opentelemetry.trace") is not None


def _find() -> Any:
    """`opentelemetry.trace`, or None."""
    global _missing
    if not loaded() and not _missing:
        try:
            import_module("opentelemetry.trace")
        except ImportError:
            _missing = True
        except Exception as error:  # a broken one must not break each request that has a trace
            _missing = True
            sys.stderr.write(f"opentelemetry can't be imported, so it is not used: {error!r}\n")
    # One that came later, with an environment that was activated, counts.
    return _loaded("opentelemetry.trace")


def attach(position: Position) -> Any:
    """Make a span of Elixir's the current one.

    Returns:
        what `detach` takes; None where the library is missing.
    """
    api = _find()
    return None if api is None else enter(api.NonRecordingSpan(_context(api, position, True)))


def _context(api: Any, position: Position, remote: bool) -> Any:
    return api.SpanContext(
        int.from_bytes(position.trace_id, "big"),
        int.from_bytes(position.span_id, "big"),
        is_remote=remote,
        trace_flags=api.TraceFlags(position.flags),
        trace_state=api.TraceState.from_header([position.state] if position.state else []),
    )


def enter(span: Any) -> Any:
    in_context = sys.modules["opentelemetry.trace"].set_span_in_context(span)
    return sys.modules["opentelemetry.context"].attach(in_context)


def detach(token: Any) -> None:
    sys.modules["opentelemetry.context"].detach(token)


def current() -> "Optional[Position]":
    """The span that is current for OpenTelemetry."""
    if not loaded():
        return None
    found = sys.modules["opentelemetry.trace"].get_current_span()
    return position(found) if found.get_span_context().is_valid else None


def position(span: Any) -> Position:
    context = span.get_span_context()
    return Position(
        context.trace_id.to_bytes(16, "big"),
        context.span_id.to_bytes(8, "big"),
        int(context.trace_flags),
        context.trace_state.to_header(),
    )


def start(name: str, attributes: "dict[str, Any]", above: "Optional[Position]") -> Any:
    """A span of the user's tracer provider, below the current one. Without a provider, one that
    only has a place in the trace `above`; None where there is none of that either.
    """
    if not loaded():
        return None
    api = sys.modules["opentelemetry.trace"]
    span = api.get_tracer("erlang_python").start_span(name, attributes=_plain(attributes))
    context = span.get_span_context()
    if context.is_valid and context.span_id != _current_id(api):
        return span
    if above is None:
        return None
    made = above._replace(span_id=os.urandom(8))
    return api.NonRecordingSpan(_context(api, made, False))


def _current_id(api: Any) -> int:
    identity: int = api.get_current_span().get_span_context().span_id
    return identity


def end(span: Any, data: Span, at: int) -> None:
    api = sys.modules["opentelemetry.trace"]
    if span.is_recording():
        for key, value in _plain(data.attributes).items():
            span.set_attribute(key, value)
        for name, when, attributes in data.events:
            span.add_event(name, _plain(attributes), timestamp=when)
        if data.status == "error":
            span.set_status(api.Status(api.StatusCode.ERROR, data.message))
        elif data.status == "ok":
            span.set_status(api.Status(api.StatusCode.OK))
    span.end(end_time=at)


def _plain(attributes: "dict[str, Any]") -> "dict[str, Any]":
    from erlang_python_worker._span_data import plain_map

    return {key: value for key, value in plain_map(attributes).items() if value is not None}
