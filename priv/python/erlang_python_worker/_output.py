"""What requests print: it goes to their callers, docs/protocol.md, "Output".

Theory of operation. `sys.stdout` and `sys.stderr` are streams that ask whose request the calling
code belongs to and post what it writes on the channel on which that request's end will leave, so
the one can't overtake the other, whichever thread prints. What belongs to no request goes where
it went before, to the descriptor.

A destructor or a signal handler may print in the middle of anything, this file included. So
nothing here waits for a lock that the same thread may hold, but for one that it may take twice,
and pieces are only ever added to and taken from a deque, each of which is one step.
"""

import io
import sys
import threading
from collections import deque
from typing import Any, Callable, NoReturn

from msgpack import packb

from erlang._request import Running
from erlang_python_worker import _protocol as wire
from erlang_python_worker._channel import Channel
from erlang_python_worker._process import Forks
from erlang_python_worker._requests import Requests

# Writes without the end of a line that are kept together, and the bytes of one message.
_MOST_PIECES = 64
_MOST_BYTES = 32_768

_OUTPUT = bytes((wire.OUTPUT,))


class Printed:
    """What one request has printed and not yet sent: by thread and stream, so that lines of two
    threads stay whole.
    """

    __slots__ = ("channel", "pieces", "sending")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        # Held from the look whether the request has ended until the message is on its way.
        self.sending = threading.RLock()
        self.pieces: "dict[tuple[int, int], deque[bytes]]" = {}


def printed_by(run: Running, channel: Channel) -> Printed:
    """What the request has printed; where it has printed nothing yet, that will be sent here."""
    # In one step: several threads may print first.
    printed: Printed = vars(run).setdefault("output", Printed(channel))
    return printed


def end_output(run: Running) -> None:
    """Send what the request has printed so far; its end comes next."""
    # First: a thread of its that prints meanwhile sees either this, or is seen here.
    run.ended = True
    printed = run.output
    if printed is not None:
        with printed.sending:
            if run.bar_open:
                _post(printed.channel, run, 2, b"\n")
            for key, pieces in list(printed.pieces.items()):
                _post(printed.channel, run, key[1], _take(pieces))


class Output:
    """Makes the streams of a worker.

    Args:
        channel: the main thread's.
    """

    def __init__(self, channel: Channel, requests: Requests, forks: Forks) -> None:
        self._channel = channel
        self._requests = requests
        self._forks = forks
        # Closing them, which their end would do, closes the descriptors.
        self._descriptors: "list[Any]" = []

        # Has stdout to be flushed before the end of a request?
        self.flushes = True
        self.flush_descriptor = _flusher(sys.stdout)

    def install(self) -> None:
        """Take over `sys.stdout` and `sys.stderr`."""
        self.flushes = False
        self._descriptors = [sys.stdout, sys.stderr]
        sys.stdout = sys.__stdout__ = _Stream(self, 1, sys.stdout)  # type: ignore[misc,assignment]
        sys.stderr = sys.__stderr__ = _Stream(self, 2, sys.stderr)  # type: ignore[misc,assignment]

    def flush_others(self) -> None:
        """From here on `sys.stdout` and `sys.stderr` may be others, to be flushed before an end."""
        self.flushes = True
        self.flush_descriptor = _flush_others

    def write(self, number: int, data: bytes) -> None:
        run = None if self._forks.is_child else self._requests.current()
        if run is None or run.ended:
            self._write_descriptor(number, data)
            return
        armed = self._requests.shield()
        try:
            self._write(run, number, data)
        finally:
            self._requests.expose(armed)

    def _write(self, run: Running, number: int, data: bytes) -> None:
        printed = run.output or printed_by(run, self._channel)
        key = (threading.get_ident(), number)
        pieces = printed.pieces.get(key) or printed.pieces.setdefault(key, deque())
        whole = data.rfind(b"\n") + 1
        if whole:
            pieces.append(data[:whole])
            self._send(run, number, pieces)
            data = data[whole:]
        if data:
            pieces.append(data)
            if len(pieces) >= _MOST_PIECES or len(data) >= _MOST_BYTES or run.ended:
                self._send(run, number, pieces)

    def flush(self, number: int) -> None:
        """Send what the calling code has written."""
        if not self._forks.is_child:
            run = self._requests.current()
            pieces = None
            if run is not None and run.output is not None:
                pieces = run.output.pieces.get((threading.get_ident(), number))
            if pieces:
                armed = self._requests.shield()
                try:
                    self._send(run, number, pieces)
                finally:
                    self._requests.expose(armed)
        self._descriptors[number - 1].flush()

    def _send(self, run: Any, number: int, pieces: "deque[bytes]") -> None:
        data = _take(pieces)
        cut = 0 if run.ended else _unfinished(data)
        if cut:
            pieces.appendleft(data[-cut:])
            data = data[:-cut]
        with run.output.sending:
            sent = not run.ended and _post(run.output.channel, run, number, data)
        if not sent:
            self._write_descriptor(number, data)

    def _write_descriptor(self, number: int, data: bytes) -> None:
        stream = self._descriptors[number - 1]
        stream.buffer.write(data)
        stream.flush()

    def descriptor(self, number: int) -> int:
        fileno: int = self._descriptors[number - 1].fileno()
        return fileno


def _take(pieces: "deque[bytes]") -> bytes:
    taken = []
    try:
        while True:
            taken.append(pieces.popleft())
    except IndexError:
        return b"".join(taken)


def _unfinished(data: bytes) -> int:
    """How many bytes at the end begin a character of UTF-8 whose rest is to come."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:  # none of those that continue one
            length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return back if length > back else 0
    return 0


def _post(channel: Channel, run: Running, number: int, data: bytes) -> bool:
    """False if the channel takes no more."""
    try:
        for part in _parts(data):
            body = packb([number, part.decode("utf-8", "replace")])
            channel.post(_OUTPUT + run.key + body)
    except OSError:
        return False
    return True


def _parts(data: bytes) -> "list[bytes]":
    if len(data) <= _MOST_BYTES:
        return [data] if data else []
    parts, start = [], 0
    while start < len(data):
        end = min(start + _MOST_BYTES, len(data))
        # Not within a character, of which UTF-8 has at most four bytes.
        while end < len(data) and data[end] & 0xC0 == 0x80 and end > start + _MOST_BYTES - 4:
            end -= 1
        parts.append(data[start:end])
        start = end
    return parts


def _flusher(stream: Any) -> "Callable[[], None]":
    def flush() -> None:
        try:
            stream.flush()
        except Exception:  # stdout is the user's to close, or was not open from the start
            pass

    return flush


def _flush_others() -> None:
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, _Stream):
            _flusher(stream)()


class _Stream(io.TextIOBase):
    """`sys.stdout` or `sys.stderr`, as programs expect them to be."""

    encoding = "utf-8"
    errors = "backslashreplace"
    line_buffering = True
    mode = "w"

    def __init__(self, output: Output, number: int, descriptor: Any) -> None:
        self._output = output
        self._number = number
        self.name = getattr(descriptor, "name", None)
        self._buffer = _Buffer(self, output, number)

    @property
    def buffer(self) -> "_Buffer":
        # Programs make a TextIOWrapper of it and put that into our place: it keeps what it gets.
        self._output.flush_others()
        return self._buffer

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        _check_open(self)
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if text:
            self._output.write(self._number, text.encode("utf-8", "backslashreplace"))
        return len(text)

    def flush(self) -> None:
        _check_open(self)
        self._output.flush(self._number)

    def fileno(self) -> int:
        return self._output.descriptor(self._number)

    def isatty(self) -> bool:
        return False

    def reconfigure(self, **_options: Any) -> None:
        """Nothing to be set: what Elixir gets is text, at the end of each line."""

    def detach(self) -> NoReturn:
        raise io.UnsupportedOperation("detach")


class _Buffer(io.BufferedIOBase):
    """Its `buffer`: takes UTF-8. A wrapper that is thrown away calls `close`, in vain."""

    mode = "wb"

    def __init__(self, stream: _Stream, output: Output, number: int) -> None:
        self._output = output
        self._number = number
        self.name = stream.name

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        _check_open(self)
        if isinstance(data, str):
            raise TypeError("a bytes-like object is required, not 'str'")
        written = bytes(memoryview(data))
        if written:
            self._output.write(self._number, written)
        return len(written)

    def flush(self) -> None:
        _check_open(self)
        self._output.flush(self._number)

    def close(self) -> None:
        self.flush()

    def fileno(self) -> int:
        return self._output.descriptor(self._number)

    def isatty(self) -> bool:
        return False


def _check_open(stream: Any) -> None:
    if stream.closed:
        raise ValueError("I/O operation on closed file.")
