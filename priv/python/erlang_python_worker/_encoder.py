"""Python values to the bytes of docs/protocol.md, "Values"."""

import struct
from typing import Any, Callable, Optional

from msgpack import ExtType, Packer, Timestamp

from erlang import Atom
from erlang._encoders import atoms
from erlang_python_worker._protocol import (
    BUFFER,
    BUFFER_BINARY,
    BUFFER_BYTES,
    DATETIME,
    EXCEPTION,
    INTEGER,
    OUT_OF_BAND,
    RANGE,
    REGEX,
    SET,
    TENSOR,
    TUPLE,
)
from erlang_python_worker._rows import as_rows

Converter = Callable[["Encoder", Any], Any]

# The first elements of marked arrays.
MARKS = {
    code: ExtType(code, b"") for code in (TUPLE, SET, DATETIME, EXCEPTION, TENSOR, RANGE, REGEX)
}

# What the packer writes without asking us.
_NATIVE = frozenset({type(None), bool, float, str, bytes, list, dict, ExtType, Timestamp})

# Whose encoding calls nobody's code and has no buffers.
_SCALARS = frozenset({type(None), bool, float, int})

# A packer keeps its buffer; past this size a new one is cheaper than the memory.
_KEEP_PACKER_BELOW = 1 << 20
# Below this, copying an array that may still change is cheaper than waiting for libzmq.
_LEND_FROM = 1 << 20
# Only containers as short as this are searched for large data before packing.
_SEARCH_UP_TO = 16
# UTF-8 takes four bytes a character at most.
_LARGE_STR = OUT_OF_BAND // 4

_pack_buffer = struct.Struct(">BI").pack


class EncodeError(Exception):
    """Something in a value has no encoding.

    Attributes:
        path: where it stands, such as ``result["a"][3]``.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class Encoder:
    """Encodes values, one at a time. Not thread-safe: one owner.

    Args:
        find: gives the converter for a type that MessagePack lacks; it raises `EncodeError`.
        plain: arrays become nested lists and sets become lists (the Erlang face).
        parts: each value is a list of what others gave, such as the arguments of a callback.
    """

    def __init__(
        self, find: "Callable[[type], Converter]", plain: bool = False, parts: bool = False
    ) -> None:
        self.plain = plain
        self._find = find
        self._searches = _SEARCHES_OF_PARTS if parts else _SEARCHES
        self._buffers: "list[Any]" = []
        self._lifting = False
        self._busy = False
        self._renew()

    def _renew(self) -> None:
        self._pack = Packer(default=self._default, strict_types=True).pack

    def encode(self, value: Any) -> "tuple[bytes, list[Any]]":
        """Encode a value.

        Returns:
            the body, and the buffers that follow it out of band.

        Raises:
            Exception: of any type; `locate` in ``_locate.py`` says what it means.
        """
        if type(value) in _SCALARS and not self._busy:
            return self._pack(value), []
        if self._busy:  # a user's encoder, called from here, has called into the BEAM
            return Encoder(self._find, self.plain).encode(value)
        try:
            self._busy = True
            return self._encode(value)
        finally:
            self._busy = False

    def _encode(self, value: Any) -> "tuple[bytes, list[Any]]":
        self._buffers = []
        if type(value) is list:
            value = as_rows(value)
        search = self._searches.get(type(value))
        if search is not None and search(value):
            return self._encode_lifted(value)
        try:
            body = self._pack(value)
        except BufferError:  # the packer can't read a memoryview with gaps
            self._buffers = []
            return self._encode_lifted(value)
        if len(body) >= OUT_OF_BAND:
            if _may_hold_large_data(body):
                self._buffers = []
                return self._encode_lifted(value)
            if len(body) >= _KEEP_PACKER_BELOW:
                self._renew()
        return body, self._take_buffers()

    def _take_buffers(self) -> "list[Any]":
        # As large as they are, an idle worker must not hold them.
        buffers = self._buffers
        if buffers:
            self._buffers = []
        return buffers

    def _encode_lifted(self, value: Any) -> "tuple[bytes, list[Any]]":
        self._lifting = True
        try:
            body = self._pack(self._lift(value))
        finally:
            self._lifting = False
        if len(body) >= _KEEP_PACKER_BELOW:
            self._renew()
        return body, self._take_buffers()

    def _default(self, value: Any) -> Any:
        kind = type(value)
        if kind is Atom:
            known = atoms.get(value)
            if known is not None:
                return known
        # The packer asks once per value: what we answer must be native.
        while kind not in _NATIVE:
            if kind is int:
                if -(1 << 63) <= value < 1 << 64:
                    break
                value = _integer(value)
            elif kind is memoryview or kind is bytearray:
                value = bytes(value)
            else:
                value = self._find(kind)(self, value)
            kind = type(value)
        return self._lift(value) if self._lifting else value

    def _lift(self, value: Any) -> Any:
        """Put references in the place of large data, at any depth."""
        kind = type(value)
        if kind is list:
            return [self._lift(item) for item in value]
        if kind is dict:
            return {key: self._lift(item) for key, item in value.items()}
        if kind is str:
            if len(value) >= _LARGE_STR:
                data = value.encode()
                if len(data) >= OUT_OF_BAND:
                    return self._reference(data, BUFFER_BINARY)
        elif kind is bytes or kind is bytearray:
            if len(value) >= OUT_OF_BAND:
                return self.data(memoryview(value))
        elif kind is memoryview and (value.nbytes >= OUT_OF_BAND or not value.c_contiguous):
            return self.data(value)
        return value

    def data(self, view: memoryview) -> Any:
        """The wire form of bytes: in the body if few, else out of band."""
        if view.nbytes < OUT_OF_BAND:
            return view.tobytes()
        if view.readonly and type(view.obj) is bytes and view.nbytes == len(view.obj):
            return self._reference(view.obj, BUFFER_BYTES)
        if view.nbytes < _LEND_FROM or not view.c_contiguous:
            return self._reference(view.tobytes(), BUFFER_BYTES)
        return self._reference(view.cast("B") if view.ndim != 1 else view, BUFFER_BYTES)

    def _reference(self, data: Any, kind: int) -> ExtType:
        self._buffers.append(data)
        return ExtType(BUFFER, _pack_buffer(kind, len(self._buffers) - 1))


def _integer(value: int) -> Any:
    size = (value if value >= 0 else ~value).bit_length() // 8 + 1
    return ExtType(INTEGER, value.to_bytes(size, "big", signed=True))


def _may_hold_large_data(body: bytes) -> bool:
    """Is there a bin 32 or str 32 header in the body, or bytes that look like one?

    Searching the packed bytes costs a tenth of a walk through the value.
    """
    if _is_all_floats(body):
        return False
    import re  # not every Python has it from the start

    # A size that fits into the body begins with no more than this. What is looked for in one go
    # starts with one certain byte: no other search is as fast.
    most = min(len(body) >> 24, 0xFF)
    for form in (b"\xc6", b"\xdb"):
        for lead in re.finditer(form + b"[\\0-\\x%02x]" % most, body):
            at = lead.start()
            size = int.from_bytes(body[at + 1 : at + 5], "big")
            if OUT_OF_BAND <= size <= len(body) - at - 5:
                return True
    return False


def _is_all_floats(body: bytes) -> bool:
    """Is the body one long array of float 64, 9 bytes each? Its bytes look like anything."""
    start = 3 if body[0] == 0xDC else 5 if body[0] == 0xDD else 0
    leads = body[start::9] if start else b""
    return bool(leads) and body[start] == 0xCB and leads.count(0xCB) == len(leads)


def _is_large(value: Any) -> bool:
    size = _LARGE_SIZES.get(type(value))
    return size is not None and len(value) >= size


_LARGE_SIZES: "dict[type, int]" = {str: _LARGE_STR, bytes: OUT_OF_BAND, bytearray: OUT_OF_BAND}

_SEARCHES: "dict[type, Callable[[Any], Optional[bool]]]" = {
    str: _is_large,
    bytes: _is_large,
    bytearray: _is_large,
    memoryview: lambda value: bool(value.nbytes >= OUT_OF_BAND),
    list: lambda value: len(value) <= _SEARCH_UP_TO and any(map(_is_large, value)),
    tuple: lambda value: len(value) <= _SEARCH_UP_TO and any(map(_is_large, value)),
    dict: lambda value: len(value) <= _SEARCH_UP_TO and any(map(_is_large, value.values())),
}


def _holds_large(value: Any) -> bool:
    search = _SEARCHES.get(type(value))
    return search is not None and bool(search(value))


_SEARCHES_OF_PARTS: "dict[type, Callable[[Any], Optional[bool]]]" = {
    list: lambda value: any(map(_holds_large, value)),
}
