"""The main thread: receive, run, send, with no other thread in between."""

import sys
from typing import Any, Callable, Optional, Tuple

from msgpack import packb

import erlang
from erlang_python_worker import _protocol as wire
from erlang_python_worker._channel import Channel, Closed
from erlang_python_worker._decoder import Decoder
from erlang_python_worker._encoder import EncodeError, Encoder
from erlang_python_worker._execute import Executor
from erlang_python_worker._extensions import DecodeError
from erlang_python_worker._locate import locate
from erlang_python_worker._process import Forks
from erlang_python_worker._protocol import HEAD_SIZE, ProtocolError
from erlang_python_worker._requests import Requests, Stop
from erlang_python_worker._types import find

# How a request ends: the message type, its body, its buffers.
End = Tuple[bytes, bytes, "list[Any]"]

_CANCELLED: End = (bytes((wire.CANCELLED,)), b"", [])
_RESULT = bytes((wire.RESULT,))
_RESULT_WITH_BUFFERS = bytes((wire.RESULT | wire.BUFFERS_FOLLOW,))
_ERROR = bytes((wire.ERROR,))

# A body shorter than this is copied out of its frame faster than it is viewed.
_COPY_BELOW = 4_096


class Worker:
    def __init__(self, channel: Channel, requests: Requests, executor: Executor, forks: Forks):
        self._channel = channel
        self._requests = requests
        self._executor = executor
        self._forks = forks
        self._decoder = Decoder()
        self._encoders = (Encoder(find), Encoder(find, plain=True))
        self._max_message_size = sys.maxsize
        self._flush: "Callable[[], None]" = getattr(sys.stdout, "flush", lambda: None)
        requests.guarded = (Worker._attempt.__code__, Worker._run.__code__)

    def set_up(self) -> "Optional[bytes]":
        """Answer HELLO's SETUP; gives the body of FAILED if that did not work."""
        try:
            head, buffers = self._receive()
            if not head or head[0] & ~wire.BUFFERS_FOLLOW != wire.SETUP:
                raise ProtocolError("SETUP comes first")
            setup = self._decoder.decode(head[HEAD_SIZE:], buffers)
            self._max_message_size = setup["max_message_size"]
            sys.path[:0] = setup["paths"]
            for kind, text in setup["preload"]:
                self._executor.preload(kind, text)
        except BaseException as error:  # SystemExit too: a module that exits did not load
            from erlang_python_worker._errors import describe

            return bytes(packb(describe(error)))
        return None

    def serve(self) -> None:
        """Take requests until the worker is to end."""
        requests = self._requests
        try:
            while not requests.stopping:
                self._serve(*self._receive())
            requests.stopped = True
        except (Stop, Closed):
            pass

    def _receive(self) -> "tuple[bytes, list[memoryview]]":
        head = self._channel.receive_head()
        if head and head[0] & wire.BUFFERS_FOLLOW:
            return head, self._channel.receive_buffers()
        return head, []

    def _serve(self, head: bytes, buffers: "list[memoryview]") -> None:
        if len(head) < HEAD_SIZE:
            head = bytes(HEAD_SIZE)  # of no type: an error of no request
        request = head[1:HEAD_SIZE]
        if not self._requests.begin(request):
            return
        kind, body, out_of_band = self._run(head, buffers)
        if self._forks.is_child:
            self._forks.leave(None)
        try:
            self._flush()
        except Exception:  # stdout is the user's to close
            pass
        message = kind + request + body
        if out_of_band or len(message) >= wire.OUT_OF_BAND:
            self._channel.send(message, out_of_band)
        else:
            self._channel.send_head(message)
        self._requests.end()

    def _run(self, head: bytes, buffers: "list[memoryview]") -> End:
        try:
            return self._attempt(head, buffers)
        except BaseException:
            # Only an interrupt between two lines of `_attempt` comes here, see _requests.py,
            # or one that stopped the text of an error from being made.
            self._requests.armed = False
            return _CANCELLED

    def _attempt(self, head: bytes, buffers: "list[memoryview]") -> End:
        requests = self._requests
        try:
            requests.armed = True
            kind = head[0] & ~wire.BUFFERS_FOLLOW
            run = self._executor.by_type.get(kind)
            if run is None:
                raise ProtocolError(f"unknown message type 0x{kind:02x}")
            data: Any = head if len(head) < _COPY_BELOW else memoryview(head)
            body = self._decoder.decode(data[HEAD_SIZE:], buffers)
            end = self._result(run(body), body[4])
            requests.armed = False
            return end
        except BaseException as error:
            end = self._failure(error)
            requests.armed = False
            return end

    def _result(self, value: Any, face: Any) -> End:
        encoder = self._encoders[1 if face == 1 else 0]
        try:
            body, buffers = encoder.encode(value)
        except Exception as error:
            raise locate(encoder, value, error) from None
        size = HEAD_SIZE + len(body)
        if buffers:
            size += sum(memoryview(buffer).nbytes for buffer in buffers)
        if size > self._max_message_size:
            raise _TooLarge(size)
        return (_RESULT_WITH_BUFFERS if buffers else _RESULT), body, buffers

    def _failure(self, error: BaseException) -> End:
        if self._forks.is_child:
            self._forks.leave(error)
        if isinstance(error, erlang.Interrupted) and self._requests.interrupted:
            return _CANCELLED
        if isinstance(error, _TooLarge):
            return _error("too_large", [error.size, self._max_message_size])
        if isinstance(error, EncodeError):
            return _error("encode", [str(error), error.path])
        if isinstance(error, DecodeError):
            return _error("decode", [str(error)])
        if isinstance(error, ProtocolError):
            return _error("protocol", [str(error)])
        from erlang_python_worker._errors import describe

        end = _error("python", describe(error))
        if HEAD_SIZE + len(end[1]) > self._max_message_size:
            end = _error("python", describe(error, short=True))
        return end


class _TooLarge(Exception):
    def __init__(self, size: int) -> None:
        self.size = size


def _error(kind: str, payload: "list[Any]") -> End:
    return _ERROR, packb([kind, payload]), []
