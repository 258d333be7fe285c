"""Streams: iterators that are open between requests, and the items of one pull.

Theory of operation. A stream is an iterator in a table, and costs nothing while nobody asks for its
items. Each `PULL` is a request of its own, which advances the iterator and packs what comes into
one message, a `Chunk`.

An item is encoded when it comes: a generator may change what it has yielded before
it yields again, as one that reuses a buffer does. Only numbers, which can't change, are packed
all together, at a third of the cost.

The control thread may take what is there for a `FLUSH` while the thread that pulls goes on.
Numbers are appended to a list without a lock, for an append and a cut of a list are one step each.
"""

import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any, Optional

from msgpack import packb

from erlang_python_worker._encoder import Encoder
from erlang_python_worker._locate import locate
from erlang_python_worker._protocol import HEAD_SIZE

# How long a pull collects before it ends with what it has: less than the reader's patience,
# after which that one asks for what is there.
COLLECT_S = 0.002
# Bytes that are enough for one message: 64 KiB, and a number more fits into any limit.
_ENOUGH = 65_536 - 64
# What frames the items in a message: its head, two array headers and the end.
_AROUND = HEAD_SIZE + 1 + 5 + 1
# Numbers that MessagePack has, and their size at most.
_MIN, _MAX = -(1 << 63), (1 << 64) - 1
_NUMBER_SIZE = 9


class TooLarge(Exception):
    """A result that the pool's `max_message_size` does not allow."""

    def __init__(self, size: int) -> None:
        self.size = size


class Chunk:
    """The items of one pull.

    Args:
        key: the id of the `PULL`.
        most: how many items at most, 1 or more.
        limit: bytes that one message may have.
    """

    def __init__(self, key: bytes, most: int, encoder: Encoder, limit: int) -> None:
        self.key = key
        self.buffers: "list[Any]" = []
        self.overflow: "Optional[tuple[bytes, list[Any]]]" = None
        self.size = _AROUND
        self._left = most
        self._encoder = encoder
        self._limit = limit
        self._until = monotonic() + COLLECT_S
        # Numbers that have come since the last part, and encoded items in parts.
        self._numbers: "list[Any]" = []
        self._parts: "list[bytes]" = []
        self._count = 0
        self._lock = threading.Lock()
        self._ended = False

    def add(self, item: Any) -> bool:
        """Add an item; says whether more are wanted.

        Raises:
            EncodeError: it has no encoding.
            TooLarge: it does not fit into any message.
        """
        kind = type(item)
        if (kind is int and _MIN <= item <= _MAX) or kind is float:
            self._numbers.append(item)
            self.size = size = self.size + _NUMBER_SIZE
            self._left = left = self._left - 1
            return left > 0 and size < _ENOUGH and monotonic() < self._until
        try:
            body, buffers = self._encoder.encode(item)
        except Exception as error:
            raise locate(self._encoder, item, error) from None
        return self.put(body, buffers)

    def put(self, body: bytes, buffers: "list[Any]") -> bool:
        """Add an encoded item, or keep it in `overflow` for the next chunk."""
        size = len(body)
        if buffers:
            size += sum(memoryview(buffer).nbytes for buffer in buffers)
        if self.size + size > self._limit:
            if _AROUND + size > self._limit:
                raise TooLarge(_AROUND + size)
            self.overflow = body, buffers
            return False
        self.size = size = self.size + size
        # Then it is the last: the numbers of buffers start anew with each item.
        self.buffers = buffers
        with self._lock:
            self._settle()
            self._parts.append(body)
            self._count += 1
        self._left = left = self._left - 1
        return left > 0 and not buffers and size < _ENOUGH and monotonic() < self._until

    def _settle(self) -> None:
        count = len(self._numbers)
        if count:
            self._parts.append(packb(self._numbers[:count])[len(_header(count)) :])
            self._count += count
            del self._numbers[:count]

    def flush(self) -> "Optional[bytes]":
        """Take what is there as an array; `None` if the pull has ended. Any thread.

        The pull then ends with its next item, which nobody has to ask for again.
        """
        with self._lock:
            if self._ended or self.buffers:
                return None
            self._until = 0.0
            return self._take()

    def end(self) -> bytes:
        """The array of the items that were not flushed."""
        with self._lock:
            self._ended = True
            return self._take()

    def _take(self) -> bytes:
        self._settle()
        items = _header(self._count) + b"".join(self._parts)
        self._parts.clear()
        self._count = 0
        return items

    @property
    def empty(self) -> bool:
        return not (self._parts or self._numbers)


class Stream:
    """An open iterator.

    Attributes:
        face: in which form its items go to the BEAM, see `CALL`.
        context: the namespace of the context that it was opened in, if it was in one.
        closed: whether nobody is to pull any more; true while `close` waits for a pull.
    """

    context: Any = None
    closed = False

    def __init__(self, iterator: "Iterator[Any]", face: int) -> None:
        self.face = face
        self._iterator = iterator
        # Held by the thread that pulls or closes; it may come again, from a callback in between.
        self._lock = threading.RLock()
        self._taking = False
        self._overflow: "Optional[tuple[bytes, list[Any]]]" = None
        self._failure: "Optional[BaseException]" = None

    def take(self, chunk: Chunk) -> bool:
        """Fill a chunk; says whether the iterator has ended. Raises what that raises."""
        with self._lock:
            self._taking = True
            try:
                return self._take(chunk)
            finally:
                self._taking = False

    def _take(self, chunk: Chunk) -> bool:
        if self._failure is not None:
            raise self._failure
        if self._overflow is not None:
            overflow, self._overflow = self._overflow, None
            if not chunk.put(*overflow):
                return False
        add = chunk.add
        for item in self._iterator:
            if not add(item):
                self._overflow = chunk.overflow
                return False
        return True

    def fail_later(self, error: BaseException) -> None:
        """Raise this at the next `take`: it had no room beside the items before it."""
        self._failure = error

    def close(self, wait: bool = True) -> None:
        """Run its `finally`, as `yield from` does when it is left.

        Args:
            wait: for a pull in another thread. One in this thread is not waited for, and has to
                close it again when it has ended.
        """
        self.closed = True
        if not self._lock.acquire(wait):
            return
        try:
            if not self._taking:
                iterator, self._iterator = self._iterator, iter(())
                close = getattr(iterator, "close", None)
                if close is not None:
                    close()
        finally:
            self._lock.release()


class Streams:
    """All that are open in this process. Any thread.

    They are `Stream` and, on the event loop, `AsyncStream`.
    """

    def __init__(self) -> None:
        self._open: "dict[int, Any]" = {}
        self._pulls: "dict[bytes, Chunk]" = {}

    def add(self, number: int, stream: Any) -> None:
        self._open[number] = stream

    def get(self, number: int) -> Any:
        return self._open.get(number)

    def remove(self, number: int) -> Any:
        return self._open.pop(number, None)

    def close_all(self) -> None:
        """Close what is still open when the process ends; what that raises is printed."""
        for number in list(self._open):
            stream = self._open.pop(number)
            if not isinstance(stream, Stream):
                continue  # the event loop closes its own
            try:
                stream.close(wait=False)
            except Exception:
                import traceback

                traceback.print_exc()

    def begin(self, chunk: Chunk) -> None:
        self._pulls[chunk.key] = chunk

    def end(self, chunk: Chunk) -> None:
        self._pulls.pop(chunk.key, None)

    def flush(self, key: bytes) -> "Optional[bytes]":
        """What a pull that runs has so far, as an array; `None` if it does not run."""
        chunk = self._pulls.get(key)
        return None if chunk is None else chunk.flush()


def is_async(value: Any) -> bool:
    return hasattr(type(value), "__aiter__")


def open_stream(value: Any, face: int) -> Stream:
    """The stream of a value: whatever offers `take` and `close`.

    Under the Erlang face only iterators stream, any other value is the only item.
    """
    if face == 1:
        return Stream(value if isinstance(value, Iterator) else iter([value]), face)
    return Stream(iter(value), face)


def _header(count: int) -> bytes:
    if count < 16:
        return bytes((0x90 | count,))
    if count < 65_536:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")
