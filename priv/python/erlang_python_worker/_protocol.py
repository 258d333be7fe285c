"""The numbers of docs/protocol.md, which is the authority."""

from typing import Any, Tuple

VERSION = 1
BUFFERS_FOLLOW, NESTED = 0x80, 0x40
TYPE = 0x3F
HEAD_SIZE = 9  # one byte of type, eight of id
TRACE_SIZE = 26  # of `TRACED`, between the head and the type of the request,
TRACE_STATE = 4  # and with this bit of its first byte a size of two bytes, and so many more

CALL, EVAL, EXEC, RUN, SETUP = 0x01, 0x02, 0x03, 0x04, 0x05
STREAM_CALL, STREAM_EVAL, PULL, CLOSE = 0x06, 0x07, 0x08, 0x09
ANSWER, ANSWER_ERROR, DROP_CONTEXT, RELEASE, TRACED, SPANS = 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x10
HELLO, READY, FAILED, RESULT, ERROR, CANCELLED = 0x11, 0x12, 0x13, 0x14, 0x15, 0x16
DETACHED, CALLBACK, CAST, SEND, SERVICE = 0x17, 0x18, 0x19, 0x1A, 0x1B
OPENED, OUTPUT, LOG, KEPT, TIMED = 0x1C, 0x1D, 0x1E, 0x1F, 0x20
CANCEL, PING, SHUTDOWN, FLUSH, STACKS, MOVE = 0x21, 0x22, 0x23, 0x24, 0x25, 0x26
CANCEL_ACK, PONG, FLUSHED, STACKED = 0x31, 0x32, 0x33, 0x34

# Extensions with data
ATOM, INTEGER, BYTES, OPAQUE, CALLABLE, BUFFER = 1, 2, 3, 4, 5, 6
DATE, TIME, NAIVE_DATETIME, DURATION, DECIMAL, ITERATOR = 7, 8, 9, 10, 11, 12
OBJECT = 13

# Marked arrays
TUPLE, SET, DATETIME, EXCEPTION, TENSOR, RANGE, REGEX = 32, 33, 34, 35, 36, 37, 38
IMPROPER_LIST, PYTHON_OBJECT = 39, 40  # in values of `ErlangPython.ErlPort` only
DATAFRAME, ROWS = 41, 42
# An extension without data is a marker from here on, and an empty value below.
FIRST_MARK = TUPLE

# In the place of a face: the value stays here, and Elixir gets a name for it.
KEEP = 2

OUT_OF_BAND = 65_536  # bytes from which data leaves the body
BUFFER_BINARY, BUFFER_BYTES = 0, 1


# How a request ends: the message type, its body, its buffers.
End = Tuple[bytes, bytes, "list[Any]"]


class ProtocolError(Exception):
    """A message that breaks docs/protocol.md."""


def request_type(head: bytes) -> int:
    """The type of a request, also of one in a `TRACED`."""
    kind = head[0] & TYPE
    if kind == TRACED:
        at = _traced_at(head)
        if len(head) > at:
            return head[at]
    return kind


def request_body(head: bytes) -> bytes:
    """Its body."""
    if head[0] & TYPE == TRACED:
        return head[_traced_at(head) + 1 :]
    return head[HEAD_SIZE:]


def trace_state(head: bytes) -> bytes:
    """What a `TRACED` brings of a `tracestate`."""
    return head[HEAD_SIZE + TRACE_SIZE + 2 : _traced_at(head)]


def _traced_at(head: bytes) -> int:
    """Where the request in a `TRACED` begins, with its type."""
    at = HEAD_SIZE + TRACE_SIZE
    if len(head) > at and head[HEAD_SIZE] & TRACE_STATE:
        at += 2 + int.from_bytes(head[at : at + 2], "big")
    return at


def head(kind: int, request_id: int = 0) -> bytes:
    return kind.to_bytes(1, "big") + request_id.to_bytes(8, "big")
