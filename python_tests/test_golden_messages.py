"""The golden messages, each read or written as its direction says."""

import struct
from typing import Any

import pytest

import vectors
from erlang_python_worker import _kept
from erlang_python_worker import _protocol as wire
from erlang_python_worker._decoder import Decoder
from erlang_python_worker._encoder import Encoder
from erlang_python_worker._types import find

ROWS = vectors.rows("messages.tsv")


def named(*directions: str) -> pytest.MarkDecorator:
    chosen = [row for row in ROWS if row[1] in directions]
    return pytest.mark.parametrize("row", chosen, ids=[row[0] for row in chosen])


def frames(row: "list[str]") -> "list[bytes]":
    return [bytes.fromhex(frame) for frame in row[2].split()]


def body_at(head: bytes) -> int:
    """Where the body begins: behind the head, and an envelope or numbers."""
    kind = head[0] & wire.TYPE
    if kind == wire.TRACED:
        return len(head) - len(wire.request_body(head))
    return wire.HEAD_SIZE + {wire.TIMED: 17, wire.SPANS: 8}.get(kind, 0)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_head_has_the_type_that_the_name_says(row: "list[str]") -> None:
    head, *buffers = frames(row)
    assert head[0] & wire.TYPE == getattr(wire, row[0].split()[0])
    assert bool(head[0] & wire.BUFFERS_FOLLOW) == bool(buffers)
    assert bool(head[0] & wire.NESTED) == ("nested" in row[0])


@named("to_python", "decode")
def test_reads_the_golden_message(row: "list[str]", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kept.kept, "_nonce", bytes(range(8)))
    monkeypatch.setattr(_kept.kept, "_objects", {struct.pack(">Q", 21): [1, 2]})
    head, *buffers = frames(row)
    body = head[body_at(head) :]
    assert bool(body) == (row[4] != "-")
    if body:
        assert vectors.same(Decoder().decode(body, buffers), vectors.value(row[4]))


@named("to_elixir")
def test_writes_the_golden_message(row: "list[str]") -> None:
    [head] = frames(row)
    body: Any = b"" if row[4] == "-" else Encoder(find).encode(vectors.value(row[4]))[0]
    assert body.hex() == head[body_at(head) :].hex()
