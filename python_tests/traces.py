"""Traced requests and what comes of them: docs/protocol.md, "Traces"."""

from __future__ import annotations

import struct
from typing import Any

import msgpack

from peer import RUN, Callback, Message, Peer

TRACED, TIMED, SPANS = 0x0E, 0x20, 0x10
TIMED_MODE, RECORDED, BOTH, STATED = 1, 2, 3, 4
# The trace of most tests, and the span above what they run.
TRACE = bytes(range(1, 17))
ABOVE = b"aboveabo"


def envelope(
    number: int,
    body: Any,
    kind: int = RUN,
    mode: int = BOTH,
    trace: bytes = TRACE,
    above: bytes = ABOVE,
    flags: int = 1,
    state: str = "",
    nested: int = 0,
) -> bytes:
    """TRACED with a request within; a text for a body is code to run."""
    packed = struct.pack(">H", len(state)) + state.encode() if state else b""
    mode |= STATED if state else 0
    head = struct.pack(">BQB", TRACED | nested, number, mode) + trace + above + bytes((flags,))
    head += packed + bytes((kind,))
    if isinstance(body, str):
        body = [body, None, None, 1, 0]
    return head + bytes(msgpack.packb(body))


def traced(peer: Peer, body: Any, channel: str = "", **options: Any) -> int:
    """Begins such a request, with the options of `envelope`."""
    number = peer.begin_id()
    peer.send_frames(envelope(number, body, **options), channel=channel)
    return number


class Timed:
    """An end with its times."""

    def __init__(self, message: Message) -> None:
        assert message.type == TIMED, message
        self.begun, self.took, self.type = struct.unpack(">QQB", message.raw[:17])
        self.body: Any = msgpack.unpackb(message.raw[17:])


class Sent:
    """A span as it came."""

    def __init__(self, packed: list[Any]) -> None:
        self.name, self.trace, self.id, self.above, self.begun, self.took = packed[:6]
        self.status, self.message, self.attributes, self.events = packed[6:]


def spans_of(message: Message) -> tuple[int, list[Sent]]:
    """How many were dropped, and those that came."""
    dropped, count = struct.unpack(">II", message.raw[:8])
    spans = [Sent(packed) for packed in msgpack.unpackb(message.raw[8:])]
    assert len(spans) == count
    return dropped, spans


def run(peer: Peer, code: Any, channel: str = "", **options: Any) -> tuple[list[Sent], Message]:
    """The spans of a request, and its end."""
    number = traced(peer, code, **options)
    spans: list[Sent] = []
    while True:
        message = peer.receive(channel)
        if message.type != SPANS:
            assert message.id == number, message
            return spans, message
        spans += spans_of(message)[1]


def names(spans: list[Sent]) -> dict[str, Sent]:
    return {span.name: span for span in spans}


def carried(call: Callback) -> Any:
    """The place in its trace that a callback came with."""
    return call.body[4] if len(call.body) > 4 else None
