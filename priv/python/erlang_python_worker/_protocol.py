"""The numbers of docs/protocol.md, which is the authority."""

VERSION = 1
BUFFERS_FOLLOW = 0x80
HEAD_SIZE = 9  # one byte of type, eight of id

CALL, EVAL, EXEC, RUN, SETUP = 0x01, 0x02, 0x03, 0x04, 0x05
HELLO, READY, FAILED, RESULT, ERROR, CANCELLED = 0x11, 0x12, 0x13, 0x14, 0x15, 0x16
CANCEL, PING, SHUTDOWN = 0x21, 0x22, 0x23
CANCEL_ACK, PONG = 0x31, 0x32

# Extensions with data
ATOM, INTEGER, BYTES, OPAQUE, CALLABLE, BUFFER = 1, 2, 3, 4, 5, 6
DATE, TIME, NAIVE_DATETIME, DURATION, DECIMAL = 7, 8, 9, 10, 11

# Marked arrays
TUPLE, SET, DATETIME, EXCEPTION, TENSOR, RANGE, REGEX = 32, 33, 34, 35, 36, 37, 38
# An extension without data is a marker from here on, and an empty value below.
FIRST_MARK = TUPLE

OUT_OF_BAND = 65_536  # bytes from which data leaves the body
BUFFER_BINARY, BUFFER_BYTES = 0, 1


class ProtocolError(Exception):
    """A message that breaks docs/protocol.md."""


def head(kind: int, request_id: int = 0) -> bytes:
    return kind.to_bytes(1, "big") + request_id.to_bytes(8, "big")
