"""From the bytes of a request to the bytes of its end, in whatever thread that is."""

import sys
import threading
from collections.abc import Iterator
from types import CoroutineType
from typing import Any, Protocol

from msgpack import ExtType, packb

import erlang
from erlang._request import Running
from erlang_python_worker import _protocol as wire
from erlang_python_worker._channel import Channel
from erlang_python_worker._decoder import Decoder
from erlang_python_worker._encoder import EncodeError, Encoder
from erlang_python_worker._execute import ContextDropped, Executor
from erlang_python_worker._extensions import DecodeError, Released
from erlang_python_worker._kept import kept
from erlang_python_worker._locate import locate
from erlang_python_worker._output import Output, end_output
from erlang_python_worker._process import Forks
from erlang_python_worker._protocol import HEAD_SIZE, End, ProtocolError
from erlang_python_worker._requests import whole
from erlang_python_worker._stream_requests import GUARDED as _STREAMS_GUARDED
from erlang_python_worker._stream_requests import KINDS as STREAM_KINDS
from erlang_python_worker._stream_requests import StreamRequests
from erlang_python_worker._streams import TooLarge
from erlang_python_worker._tracing import GUARDED as _TRACING_GUARDED
from erlang_python_worker._tracing import Tracing
from erlang_python_worker._types import find

CANCELLED: End = (bytes((wire.CANCELLED,)), b"", [])
# Not its end: that comes from the event loop.
_DETACHED = bytes((wire.DETACHED,))
DETACHED: End = (_DETACHED, b"", [])
_RESULT = bytes((wire.RESULT,))
_RESULT_WITH_BUFFERS = bytes((wire.RESULT | wire.BUFFERS_FOLLOW,))
_ERROR = bytes((wire.ERROR,))

# Frames that the traceback module and the encoder need.
_HEADROOM = 200

# A body shorter than this is copied out of its frame faster than it is viewed.
_COPY_BELOW = 4_096


class Arms(Protocol):
    """Whether an interrupt may be raised in the code that runs: `Requests` in the main thread."""

    armed: bool

    @property
    def interrupted(self) -> bool: ...


class Detached(Protocol):
    """Takes the coroutines that requests give: `EventLoops`."""

    def take(self, coroutine: Any, face: Any) -> None: ...

    def blocks(self, thread: int) -> bool: ...


class NoArms:
    """For threads, in which no interrupt can be raised."""

    armed = False
    interrupted = False


class Limits:
    """What `SETUP` says for all threads."""

    max_message_size = sys.maxsize


class Runner:
    """Runs requests one after another; nested ones within. One owner."""

    def __init__(
        self,
        executor: Executor,
        forks: Forks,
        limits: Limits,
        arms: Arms,
        loop: Detached,
        tracing: Tracing,
    ) -> None:
        self._by_type = executor.by_type
        self._loop = loop
        self._forks = forks
        self._limits = limits
        self._arms = arms
        self._tracing = tracing
        self.decode = Decoder().decode
        self._encoders = (Encoder(find), Encoder(find, plain=True))
        self._streams = StreamRequests(executor, self._encoders, limits, self._failure, loop.blocks)

    def run(self, head: bytes, buffers: "list[Any]") -> End:
        try:
            end = self._attempt(head, buffers)
        except BaseException as error:
            # Only an interrupt between two lines of `_attempt` comes here, see _requests.py,
            # or one that stopped the text of an error from being made;
            self._arms.armed = False
            # and one that left no room for it.
            end = _too_deep if isinstance(error, RecursionError) else CANCELLED
        if end is CANCELLED:
            self._streams.forget(head[1:HEAD_SIZE])
            kept.forget(head[1:HEAD_SIZE])
        return end

    def _attempt(self, head: bytes, buffers: "list[Any]") -> End:
        arms = self._arms
        try:
            arms.armed = True
            kind = head[0] & wire.TYPE
            run = self._by_type.get(kind)
            if run is None and kind not in STREAM_KINDS:
                if kind == wire.TRACED:
                    arms.armed = False
                    return self._tracing.run(head, buffers, self._attempt)
                raise ProtocolError(f"unknown message type 0x{head[0]:02x}")
            data: Any = head if len(head) < _COPY_BELOW else memoryview(head)
            body = self.decode(data[HEAD_SIZE:], buffers)
            key = head[1:HEAD_SIZE]
            value: Any = self._streams.run(kind, key, body) if run is None else run(body)
            if type(value) is CoroutineType:
                arms.armed = False
                self._loop.take(value, None if run is None else _face(body))
                return DETACHED
            end: End = value if run is None else self._result(key, value, _face(body))
            arms.armed = False
            return end
        except BaseException as error:
            end = self.failure(error)
            arms.armed = False
            return end

    def result(self, key: bytes, value: Any, face: Any) -> End:
        """How a request ends that gave this value."""
        try:
            return self._result(key, value, face)
        except BaseException as error:
            return self.failure(error)

    def _result(self, key: bytes, value: Any, face: Any) -> End:
        encoder = self._encoders[0]
        if face:
            if face == wire.KEEP:
                return kept.keep(key, value)
            encoder = self._encoders[face == 1]
        try:
            body, buffers = encoder.encode(value)
        except Exception as error:
            if face == 1 and isinstance(value, Iterator):
                return self._streams.keep(key, value, face)
            raise locate(encoder, value, error) from None
        size = HEAD_SIZE + len(body)
        if buffers:
            size += sum(memoryview(buffer).nbytes for buffer in buffers)
        if size > self._limits.max_message_size:
            raise TooLarge(size)
        return (_RESULT_WITH_BUFFERS if buffers else _RESULT), body, buffers

    def failure(self, error: BaseException) -> End:
        """How a request ends that left by an exception.

        Raises:
            Interrupted: the request was interrupted meanwhile.
        """
        try:
            return self._with_headroom(error)
        except RecursionError:
            return _too_deep
        except BaseException:  # no memory for the whole, or an exception that raises others
            if self._arms.interrupted:
                raise
            return _error(*_describe(error, short=True))

    def _with_headroom(self, error: BaseException) -> End:
        if not isinstance(error, RecursionError):
            return self._failure(error)
        # To tell of it takes frames too.
        with _headroom:
            return self._failure(error)

    def _failure(self, error: BaseException) -> End:
        if self._forks.is_child:
            self._forks.leave(error)
        if isinstance(error, erlang.Interrupted) and self._arms.interrupted:
            return CANCELLED
        if isinstance(error, TooLarge):
            return _error("too_large", [error.size, self._limits.max_message_size])
        if isinstance(error, EncodeError):
            return _error("encode", [str(error), error.path])
        if isinstance(error, Released):
            return _error("released", [])
        if isinstance(error, DecodeError):
            return _error("decode", [str(error)])
        if isinstance(error, ContextDropped):
            return _error("context", [])
        if isinstance(error, ProtocolError):
            return _error("protocol", [str(error)])
        end = _error(*_describe(error))
        if HEAD_SIZE + len(end[1]) > self._limits.max_message_size:
            end = _error(*_describe(error, short=True))
        return end


class _Headroom:
    """More frames as long as anybody needs them; the limit is that of all threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a destructor may come here again
        self._users = 0
        self._raised = 0

    @whole
    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._raised = sys.getrecursionlimit() + _HEADROOM
                sys.setrecursionlimit(self._raised)
            self._users += 1

    @whole
    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._users -= 1
            # Not what somebody else has set meanwhile.
            if self._users == 0 and sys.getrecursionlimit() == self._raised:
                sys.setrecursionlimit(self._raised - _HEADROOM)


_headroom = _Headroom()


# The end of a request that ran out of frames, where there are none left to describe it.
_too_deep: End = CANCELLED


def prepare() -> None:
    """Make ready for errors that leave no room to import or to compute anything."""
    global _too_deep
    _too_deep = _error("python", _describe(RecursionError("maximum recursion depth exceeded"))[1])


# The functions in which an interrupt may still be raised when the code has ended.
GUARDED = (
    Runner._attempt.__code__,
    Runner.run.__code__,
    *_STREAMS_GUARDED,
    *_TRACING_GUARDED,
)


class Server:
    """Runs requests and sends their ends on the channel of the thread that runs them.

    Args:
        detaches: whether the BEAM must be told that a request goes on elsewhere, because it
            counts it as the main thread's.
    """

    def __init__(
        self,
        channel: Channel,
        runner: Runner,
        forks: Forks,
        output: Output,
        detaches: bool = False,
    ) -> None:
        self._detaches = detaches
        self._channel = channel
        self._runner = runner
        self._forks = forks
        self._output = output

    def serve(self, run: Running, head: bytes, buffers: "list[Any]") -> None:
        kind, body, out_of_band = self._runner.run(head, buffers)
        self._end(run, kind, body, out_of_band)

    def refuse(self, run: Running, error: BaseException) -> None:
        """The end of a request that could not even be begun."""
        self._end(run, *self._runner.failure(error))

    def _end(self, run: Running, kind: bytes, body: bytes, out_of_band: "list[Any]") -> None:
        if self._forks.is_child:
            self._forks.leave(None)
        if self._output.flushes:
            self._output.flush_descriptor()
        if kind is not _DETACHED:
            run.ended = True
            if run.output is not None:
                end_output(run)
        elif not self._detaches:
            return
        head = kind + run.key + body
        if out_of_band or len(head) >= wire.OUT_OF_BAND:
            self._channel.send(head, out_of_band)
        else:
            self._channel.send_head(head)


def message(key: bytes, end: End) -> "tuple[bytes, list[Any]]":
    kind, body, out_of_band = end
    return kind + key + body, out_of_band


def _face(body: Any) -> Any:
    return body[4] if len(body) > 4 else 0


def _describe(error: BaseException, short: bool = False) -> "tuple[str, Any]":
    from erlang_python_worker._errors import describe

    described = describe(error, short)
    if isinstance(error, erlang.ElixirError) and isinstance(error._term, erlang.Opaque):
        # As it is on the wire: this packer knows no other extensions than those made by hand.
        term = ExtType(wire.OPAQUE, error._term._data)
        return "elixir", [described, error.kind, term, error.stacktrace]
    return "python", described


def _error(kind: str, payload: "list[Any]") -> End:
    return _ERROR, packb([kind, payload]), []
