"""Code that calls into the BEAM from each kind of thread, and the terms that the BEAM sends along."""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import pytest

from peer import RUN, Callback, Peer

# As the BEAM sends them; the worker can't tell a seal that is none.
PID = msgpack.ExtType(
    4, bytes(16) + b"\x83X" + b"w\x0dnonode@nohost" + struct.pack(">III", 107, 0, 0)
)
ITERATOR = msgpack.ExtType(12, PID.data)
HALT = msgpack.ExtType(1, b"halt")
FUN = msgpack.ExtType(5, bytes(16) + b"\x83p" + bytes(20))
TERM = msgpack.ExtType(4, bytes(16) + b"\x83h\x00")
CODE = {
    "the main thread": "out = work()",
    "a thread": """
import threading
def body():
    global out
    out = work()
thread = threading.Thread(target=body); thread.start(); thread.join()""",
    "a pool of threads": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(2) as threads: out = threads.submit(work).result()""",
    "a callback of a C library": """
import ctypes
libc = ctypes.CDLL(None)
out = []
@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
def compare(a, b):
    out.append(work())
    return 0
libc.qsort((ctypes.c_int * 2)(), 2, 4, compare)
out = out[0]""",
    "a thread of a C library": """
import ctypes
libc = ctypes.CDLL(None)
out = []
@ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
def body(_):
    out.append(work())
thread = ctypes.c_ulong()
assert libc.pthread_create(ctypes.byref(thread), None, body, None) == 0
libc.pthread_join(thread, None)
out = out[0]""",
}
# The statements of a test as a function `work`, run where a name of CODE says; its value is the request's.
WHERE = pytest.mark.parametrize("where", CODE)


def working(where: str, body: str) -> str:
    lines = "\n".join("    " + line for line in body.strip().split("\n"))
    return f"import erlang\ndef work():\n{lines}\n{CODE[where]}\nout"


def begin(peer: Peer, code: str, **bindings: Any) -> int:
    return peer.begin(RUN, [code, bindings or None, None, 1, 0])


def in_callback(peer: Peer, where: str) -> tuple[int, Callback]:
    """A request that waits in a callback to `f`, whose answer will be its value."""
    number = begin(peer, working(where, "return erlang.call('f')"))
    return number, peer.callback()
