"""What the scripts in the ZMTP tests share: a DEALER, lines to and from the test, no orphans."""

from __future__ import annotations

import os
import queue
import sys
import threading
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

ENDPOINT = sys.argv[1]
CONTEXT = zmq.Context()

_lines: queue.Queue[str] = queue.Queue()


def _read_stdin() -> None:
    for line in sys.stdin:
        _lines.put(line.rstrip("\n"))
    # The test is over, whatever the main thread is blocked in.
    os._exit(0)


threading.Thread(target=_read_stdin, daemon=True).start()


def wait() -> str:
    """The next line that the test told us."""
    return _lines.get()


def say(*words: object) -> None:
    print(*words, flush=True)


def dealer(
    identity: bytes | None = None, *, connect: bool = True, **options: Any
) -> zmq.Socket[bytes]:
    """A DEALER; options are named as in libzmq, in lower case."""
    socket = CONTEXT.socket(zmq.DEALER)
    if identity is not None:
        socket.setsockopt(zmq.ROUTING_ID, identity)
    for name, value in {"linger": 0, "rcvhwm": 0, "sndhwm": 0, **options}.items():
        socket.setsockopt(getattr(zmq, name.upper()), value)
    if connect:
        socket.connect(ENDPOINT)
    return socket


def next_event(monitor: zmq.Socket[bytes], *wanted: int) -> int:
    """Reads monitor events until one of those wanted."""
    while True:
        event = int(recv_monitor_message(monitor)["event"])
        if event in wanted:
            return event
