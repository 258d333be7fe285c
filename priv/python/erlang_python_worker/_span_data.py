"""What a span says of itself, bounded and as MessagePack: docs/protocol.md, "Traces"."""

from typing import Any, Optional, Tuple

from msgpack import packb

from erlang._span import Span

# Characters of a text, elements of a list.
_LONGEST = 4_096
_MOST = 128

_STATUSES = ("unset", "ok", "error")
_MIN_INT, _MAX_INT = -(1 << 63), (1 << 63) - 1

Ids = Tuple[bytes, bytes, Optional[bytes]]  # of the trace, the span and its parent


def pack_span(span: Span, ids: Ids, begun: int, took: int) -> bytes:
    """Times are nanoseconds."""
    events = [[text(name), at, plain_map(attributes)] for name, at, attributes in span.events]
    message = None if span.message is None else text(span.message)
    return bytes(
        packb(
            [
                text(span.name),
                *ids,
                begun,
                took,
                span.status if span.status in _STATUSES else "unset",
                message,
                plain_map(span.attributes),
                events,
            ],
            unicode_errors="backslashreplace",
        )
    )


def plain_map(attributes: "dict[str, Any]") -> "dict[str, Any]":
    return {text(name): plain(value) for name, value in attributes.items()}


def plain(value: Any) -> Any:
    """A value that any tool can show: text for all but numbers, booleans, and lists of these."""
    if isinstance(value, (list, tuple)):
        return [_scalar(item) for item in value[:_MOST]]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if value is None or type(value) in (bool, float):
        return value
    if type(value) is int and _MIN_INT <= value <= _MAX_INT:
        return value
    return text(value)


def text(value: Any) -> str:
    try:
        return str(value)[:_LONGEST]
    except Exception:  # the user's own __str__; a span must not fail for it
        return f"<{type(value).__name__}>"
