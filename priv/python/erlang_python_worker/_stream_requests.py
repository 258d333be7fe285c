"""What the requests for streams do: `STREAM_CALL`, `STREAM_EVAL`, `PULL` and `CLOSE`."""

from types import CoroutineType
from typing import Any, Callable

from msgpack import packb

from erlang_python_worker import _protocol as wire
from erlang_python_worker._encoder import Encoder
from erlang_python_worker._execute import Executor
from erlang_python_worker._protocol import End, ProtocolError
from erlang_python_worker._streams import Chunk, Stream, is_async, open_stream
from erlang_python_worker._types import find

KINDS = (wire.STREAM_CALL, wire.STREAM_EVAL, wire.PULL, wire.CLOSE)
_CODE = {wire.STREAM_CALL: wire.CALL, wire.STREAM_EVAL: wire.EVAL}
_ITEMS_AND_END = b"\x92"
_NIL, _TRUE = packb(None), packb(True)
_NO_ITEMS = packb([[], True])
_BLOCKED = (
    "this asynchronous iterator runs on an event loop that waits for the callback in which its "
    "next item is asked for: let the loop go on, with `await erlang.acall(...)` instead of "
    "`erlang.call`"
)


class StreamRequests:
    """Of one thread, as `Runner` is.

    Args:
        failure: gives the end of a request that raised.
        limits: has `max_message_size`.
        blocked: see `EventLoops.blocks`.
    """

    def __init__(
        self,
        executor: Executor,
        encoders: "tuple[Encoder, Encoder]",
        limits: Any,
        failure: "Callable[[BaseException], End]",
        blocked: "Callable[[int], bool]",
    ) -> None:
        self._executor = executor
        self._streams = executor.streams
        self._encoders = encoders
        self._limits = limits
        self._failure = failure
        self._blocked = blocked

    def run(self, kind: int, key: bytes, body: Any) -> Any:
        """Run a request of one of `KINDS`, whose id is `key`.

        Returns:
            its `End`, or a coroutine that gives it, where the iterator is asynchronous.
        """
        if kind in _CODE:
            return self._open(self._executor.by_type[_CODE[kind]](body), key, body[4])
        if kind == wire.PULL:
            number, most = _numbers(body, 2)
            stream = self._streams.get(number)
            if stream is None:
                return _end(wire.RESULT, _NO_ITEMS)
            self._enter_context(stream)
            if isinstance(stream, Stream):
                return self._within(stream, self._pull, stream, number, key, most, wire.RESULT)
            if self._blocked(stream.thread):
                self._streams.remove(number)
                stream.close_later()
                raise RuntimeError(_BLOCKED)
            return self._pull_async(stream, number, key, most, wire.RESULT)
        closed = self._streams.remove(*_numbers(body, 1))
        if closed is not None:
            self._enter_context(closed)
        if isinstance(closed, Stream):
            self._within(closed, closed.close)
        elif closed is not None and self._blocked(closed.thread):
            closed.close_later()
        elif closed is not None:
            return self._close_async(closed)
        return _end(wire.RESULT, _NIL)

    def _open(self, value: Any, key: bytes, face: int) -> Any:
        if type(value) is CoroutineType:
            return self._open_async(value, key, face)
        if is_async(value):
            stream = self._in_context(self._async(value, face))
            return self._pull_async(stream, _number(key), key, 1, wire.OPENED)
        stream = self._in_context(open_stream(value, face))
        return self._within(stream, self._pull, stream, _number(key), key, 1, wire.OPENED)

    def _in_context(self, stream: Any) -> Any:
        stream.context = self._executor.context
        return stream

    def _enter_context(self, stream: Any) -> None:
        # A pull does not name the context of what it goes on with.
        if stream.context is not None:
            self._executor.enter(stream.context)

    def _within(self, stream: Stream, do: "Callable[..., Any]", *args: Any) -> Any:
        context = stream.context
        return do(*args) if context is None else self._executor.within(context, do, *args)

    # On the event loop

    def _async(self, value: Any, face: int) -> Any:
        # Not before it is needed: it imports asyncio.
        from erlang_python_worker._async_streams import AsyncStream

        return AsyncStream(value.__aiter__(), face, Encoder(find, plain=face == 1))

    async def _open_async(self, coroutine: Any, key: bytes, face: int) -> End:
        opened = self._open(await coroutine, key, face)
        end: End = await opened if type(opened) is CoroutineType else opened
        return end

    async def _pull_async(
        self, stream: Any, number: int, key: bytes, most: int, unended: int
    ) -> End:
        chunk = self._begin(stream, key, most, stream.encoder)
        try:
            ended = await stream.take(chunk)
            return self._taken(stream, number, chunk, ended, unended)
        except BaseException as raised:
            error = raised
            self._streams.remove(number)
            try:
                await stream.close()
            except BaseException as later:
                error = later
            try:
                if not isinstance(error, Exception):
                    raise error from None  # cancelled: the loop knows what that means
                return self._failed(stream, number, chunk, error, unended)
            finally:
                del error  # it refers to this frame
        finally:
            self._streams.end(chunk)

    async def _close_async(self, stream: Any) -> End:
        await stream.close()
        return _end(wire.RESULT, _NIL)

    def keep(self, key: bytes, iterator: Any, face: int) -> End:
        """The end of a call whose value is an iterator: a stream that has given nothing yet."""
        self._streams.add(_number(key), self._in_context(open_stream(iterator, face)))
        return _end(wire.OPENED, _NIL)

    def forget(self, key: bytes) -> None:
        """A request was cancelled so late that it had opened its stream."""
        self._streams.remove(_number(key))

    def _pull(self, stream: Stream, number: int, key: bytes, most: int, unended: int) -> End:
        chunk = self._begin(stream, key, most, self._encoders[1 if stream.face == 1 else 0])
        try:
            ended = stream.take(chunk)
            if stream.closed:
                stream.close()
            return self._taken(stream, number, chunk, ended, unended)
        except BaseException as error:
            return self._raised(stream, number, chunk, error, unended)
        finally:
            self._streams.end(chunk)

    def _begin(self, stream: Any, key: bytes, most: int, encoder: Encoder) -> Chunk:
        chunk = Chunk(key, most, encoder, self._limits.max_message_size)
        self._streams.begin(chunk)
        return chunk

    def _taken(self, stream: Any, number: int, chunk: Chunk, ended: bool, unended: int) -> End:
        if not (ended or stream.closed):
            # A pull finds it there, or it has just been closed.
            if unended == wire.OPENED:
                self._streams.add(number, stream)
            return _end(unended, _ITEMS_AND_END + chunk.end() + _NIL, chunk.buffers)
        self._streams.remove(number)
        return _end(wire.RESULT, _ITEMS_AND_END + chunk.end() + _TRUE, chunk.buffers)

    def _raised(
        self, stream: Stream, number: int, chunk: Chunk, error: BaseException, unended: int
    ) -> End:
        self._streams.remove(number)
        try:
            # The iterator has ended if it raised, but not if the item or an interrupt did.
            stream.close()
        except BaseException as later:
            error = later
        return self._failed(stream, number, chunk, error, unended)

    def _failed(
        self, stream: Any, number: int, chunk: Chunk, error: BaseException, unended: int
    ) -> End:
        end = self._failure(error)
        if end[0] == _CANCELLED:
            return end
        body = packb(end[1])
        if not chunk.empty and chunk.size + len(body) > self._limits.max_message_size:
            stream.fail_later(error)
            self._streams.add(number, stream)
            return _end(unended, _ITEMS_AND_END + chunk.end() + _NIL, chunk.buffers)
        return _end(wire.RESULT, _ITEMS_AND_END + chunk.end() + body, chunk.buffers)


# An interrupt that comes a second time while these run is dropped, see _requests.py.
GUARDED = (
    StreamRequests.run.__code__,
    StreamRequests._pull.__code__,
    StreamRequests._taken.__code__,
    StreamRequests._raised.__code__,
    StreamRequests._failed.__code__,
)

_CANCELLED = bytes((wire.CANCELLED,))


def _end(kind: int, body: bytes, buffers: "list[Any] | None" = None) -> End:
    return bytes((kind | wire.BUFFERS_FOLLOW if buffers else kind,)), body, buffers or []


def _number(key: bytes) -> int:
    return int.from_bytes(key, "big")


def _numbers(body: Any, count: int) -> "list[int]":
    if type(body) is not list or len(body) != count or any(type(n) is not int for n in body):
        raise ProtocolError("PULL has two integers, CLOSE has one")
    return body
