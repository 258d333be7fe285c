"""The bytes of docs/protocol.md, "Values", to Python values."""

from io import BytesIO
from typing import Any, Callable

from msgpack import unpackb

from erlang_python_worker._extensions import (
    EXTENSIONS,
    MARKED,
    DecodeError,
    ExplicitBytes,
    Mark,
    atoms,
    text_or_bytes,
)
from erlang_python_worker._protocol import ATOM, BUFFER, BUFFER_BINARY, BYTES, FIRST_MARK, TENSOR


class _MarkSeen(Exception):
    """The body holds a marked array: it has to be read with a hook on every array."""


class Decoder:
    """Decodes bodies, one at a time. Not thread-safe: one owner.

    Most bodies hold text and no marked array. They are read by C code alone; what breaks
    that hope is found on the way, and the body is read again with hooks (a hook on every
    array costs 1.7 times the reading of small arrays).
    """

    def __init__(self) -> None:
        self._buffers: "list[Any]" = []
        self._marks = 0
        self._in_tensor = False

    def decode(self, body: "bytes | memoryview", buffers: "list[Any] | None" = None) -> Any:
        """Decode a body.

        Args:
            body: what follows the head.
            buffers: the out-of-band frames, see `Channel.receive_buffers`. They are taken
                out of the list: as large as they are, they belong to the value alone.

        Raises:
            DecodeError: it breaks the rules of the page.
        """
        try:
            if buffers:
                return self._decode_hooked(body, buffers)
            return unpackb(body, strict_map_key=False, timestamp=3, ext_hook=_plain_ext)
        except _MarkSeen:
            return self._again(self._decode_hooked, body)
        except UnicodeDecodeError:
            return self._again(self._decode_raw, body)
        except (DecodeError, RecursionError):  # the body's own depth is bounded
            raise
        except Exception as error:  # msgpack has a class for each way to be wrong
            raise _refusal(error) from None

    def _again(self, decode: "Callable[[Any], Any]", body: Any) -> Any:
        try:
            return decode(body)
        except (DecodeError, RecursionError):
            raise
        except Exception as error:
            raise _refusal(error) from None

    def _decode_hooked(self, body: Any, buffers: "list[Any] | None" = None) -> Any:
        self._buffers = [] if buffers is None else buffers
        self._marks = 0
        self._in_tensor = False
        try:
            value = unpackb(
                body,
                strict_map_key=False,
                timestamp=3,
                ext_hook=self._ext,
                list_hook=self._list,
            )
        except UnicodeDecodeError:
            return self._decode_raw(body)
        finally:
            self._buffers.clear()
        self._check_marks()
        return value

    def _decode_raw(self, body: Any) -> Any:
        self._marks = 0
        self._in_tensor = False
        value = unpackb(
            body,
            raw=True,
            strict_map_key=False,
            timestamp=3,
            ext_hook=self._raw_ext,
            list_hook=self._raw_list,
            object_pairs_hook=_raw_map,
        )
        self._check_marks()
        return _settle(value)

    def _check_marks(self) -> None:
        if self._marks:
            raise DecodeError("a marker stands elsewhere than first in an array")

    def _ext(self, code: int, data: bytes) -> Any:
        if code == ATOM:
            known = atoms.get(data)
            if known is not None:
                return known
        if not data and code >= FIRST_MARK:
            self._marks += 1
            self._in_tensor = code == TENSOR
            return _mark(code)
        if code == BUFFER:
            return self._buffer(data)
        return _decode_ext(code, data)

    def _raw_ext(self, code: int, data: bytes) -> Any:
        value = self._ext(code, data)
        # A tensor's data is nobody's text.
        return ExplicitBytes(value) if type(value) is bytes and not self._in_tensor else value

    def _list(self, items: "list[Any]") -> Any:
        if items and type(items[0]) is Mark:
            self._marks -= 1
            self._in_tensor = False
            return items[0].build(items)
        return items

    def _raw_list(self, items: "list[Any]") -> Any:
        if items and type(items[0]) is Mark and items[0].code == TENSOR:
            items[1:2] = map(_settle, items[1:2])  # its data stays bytes
        else:
            items = [_settle(item) for item in items]
        return self._list(items)

    def _buffer(self, data: bytes) -> Any:
        if len(data) != 5:
            raise DecodeError("a buffer that does not follow the message")
        kind, index = data[0], int.from_bytes(data[1:], "big")
        if kind not in (0, 1) or index >= len(self._buffers):
            raise DecodeError("a buffer that does not follow the message")
        if self._in_tensor:
            return self._writable(index)
        buffer = self._buffers[index]
        return text_or_bytes(buffer) if kind == BUFFER_BINARY else bytes(buffer)

    def _writable(self, index: int) -> memoryview:
        """A frame's memory, for a tensor: NumPy's arrays can be written to."""
        buffers = self._buffers
        if type(buffers[index]) is bytes:
            # BytesIO copies only bytes that somebody else holds too, so the list must not.
            file = BytesIO(buffers[index])
            buffers[index] = None
            buffers[index] = file.getbuffer()
        view: memoryview = buffers[index]
        return view


def _refusal(error: Exception) -> DecodeError:
    return DecodeError(str(error) or type(error).__name__)


def _plain_ext(code: int, data: bytes) -> Any:
    # Maps hold the same atoms a thousand times, and each call of Python code counts.
    if code == ATOM:
        known = atoms.get(data)
        if known is not None:
            return known
    if not data and code >= FIRST_MARK:
        raise _MarkSeen
    return _decode_ext(code, data)


def _decode_ext(code: int, data: bytes) -> Any:
    if code == BYTES:
        return data
    decode = EXTENSIONS.get(code)
    if decode is None:
        raise DecodeError(f"extension {code} has no meaning")
    return decode(data)


def _mark(code: int) -> Mark:
    mark = MARKED.get(code)
    if mark is None:
        raise DecodeError(f"marker {code} has no meaning")
    return mark


def _settle(value: Any) -> Any:
    """What a value read raw is: explicit bytes, or text where the bytes allow it."""
    kind = type(value)
    if kind is bytes:
        return text_or_bytes(value)
    return value.data if kind is ExplicitBytes else value


def _raw_map(pairs: "list[tuple[Any, Any]]") -> "dict[Any, Any]":
    return {_settle(key): _settle(value) for key, value in pairs}
