"""Decode and encode again, with the worker's own codec, whatever comes on stdin.

A packet is its size in 32 bits, then frames, each with its size in 32 bits: a body and its
buffers. The answer is the same, or one empty frame and one with the reason.
"""

import struct
import sys
from typing import Any, BinaryIO

sys.path.insert(0, sys.argv[1])

from erlang_python_worker._decoder import Decoder
from erlang_python_worker._encoder import Encoder
from erlang_python_worker._types import find


def frames(packet: bytes) -> "list[bytes]":
    found, at = [], 0
    while at < len(packet):
        size = int.from_bytes(packet[at : at + 4], "big")
        found.append(packet[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def answer(packet: bytes, decoder: Decoder, encoder: Encoder) -> "list[Any]":
    body, *buffers = frames(packet)
    try:
        value = decoder.decode(body, buffers)
        body, buffers = encoder.encode(value)
        return [body, *map(bytes, buffers)]
    except Exception as error:
        return [b"", f"{type(error).__name__}: {error}".encode()]


def serve(stdin: BinaryIO, stdout: BinaryIO) -> None:
    decoder, encoder = Decoder(), Encoder(find)
    while header := stdin.read(4):
        packet = stdin.read(int.from_bytes(header, "big"))
        out = answer(packet, decoder, encoder)
        data = b"".join(struct.pack(">I", len(frame)) + frame for frame in out)
        stdout.write(struct.pack(">I", len(data)) + data)
        stdout.flush()


serve(sys.stdin.buffer, sys.stdout.buffer)
