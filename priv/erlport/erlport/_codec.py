"""Values in ErlPort's types to and from bytes: docs/protocol.md, "ErlPort values"."""

import pickle
from collections.abc import Sequence
from typing import Any, Callable

from msgpack import ExtType, Packer, unpackb

import erlang
from erlang._handles import callable_from_wire, opaque_from_wire
from erlang_python_worker import _protocol as wire
from erlport.erlterms import Atom, ImproperList, List, Map

# Python to Erlang

# A packer keeps its buffer; past this size a new one is cheaper than the memory.
_KEEP_BELOW = 1 << 20

_spare: "list[Packer]" = []


def pack(value: Any) -> bytes:
    """Encode a value; what has no Erlang form is pickled.

    Raises:
        TypeError: it can't be pickled either.
    """
    # Pickling runs code of the user's, which may come here again.
    packer = _spare.pop() if _spare else Packer(default=_large_integer, autoreset=False)
    _write(packer, value)
    data: bytes = packer.bytes()
    if len(data) < _KEEP_BELOW:
        packer.reset()
        _spare.append(packer)
    return data


def _large_integer(value: int) -> ExtType:
    size = (value if value >= 0 else ~value).bit_length() // 8 + 1
    return ExtType(wire.INTEGER, value.to_bytes(size, "big", signed=True))


def _write(packer: Packer, value: Any) -> None:
    kind = type(value)
    if kind in _PLAIN:
        packer.pack(value)
    elif kind is list or kind is List:
        _write_list(packer, value)
    else:
        for base, write in _WRITERS:
            if isinstance(value, base):
                write(packer, value)
                return
        _write_marked(packer, wire.PYTHON_OBJECT, [_pickled(value)])


_PLAIN = {type(None), bool, int, float, bytes}


def _write_list(packer: Packer, items: "list[Any]") -> None:
    if _PLAIN.issuperset(map(type, items)):
        packer.pack(list(items))
        return
    packer.pack_array_header(len(items))
    for item in items:
        _write(packer, item)


def _write_marked(packer: Packer, mark: int, items: "Sequence[Any]") -> None:
    packer.pack_array_header(len(items) + 1)
    packer.pack_ext_type(mark, b"")
    for item in items:
        _write(packer, item)


def _write_dict(packer: Packer, value: "dict[Any, Any]") -> None:
    packer.pack_map_header(len(value))
    for key, item in value.items():
        _write(packer, key)
        _write(packer, item)


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value)
    except Exception as error:
        raise TypeError(
            f"a value of type '{type(value).__name__}' has no Erlang form and can't be pickled "
            f"({error}): return plain data, or set an encoder (erlport.erlang.set_encoder)"
        ) from error


# In this order: classes before those that they derive from.
_WRITERS: "tuple[tuple[Any, Callable[[Packer, Any], None]], ...]" = (
    (Atom, lambda packer, value: packer.pack_ext_type(wire.ATOM, bytes(value))),
    (erlang.Atom, lambda packer, value: packer.pack_ext_type(wire.ATOM, str.encode(value))),
    (str, lambda packer, value: packer.pack(list(map(ord, value)))),
    (tuple, lambda packer, value: _write_marked(packer, wire.TUPLE, value)),
    (
        ImproperList,
        lambda packer, value: _write_marked(packer, wire.IMPROPER_LIST, [*value, value.tail]),
    ),
    (list, _write_list),
    (dict, _write_dict),
    (erlang.Callable, lambda packer, value: packer.pack_ext_type(wire.CALLABLE, value._data)),
    (erlang.Opaque, lambda packer, value: packer.pack_ext_type(wire.OPAQUE, value._data)),
    ((bytes, bytearray, memoryview), lambda packer, value: packer.pack(bytes(value))),
    (int, lambda packer, value: packer.pack(int(value))),
    (float, lambda packer, value: packer.pack(float(value))),
)


# Erlang to Python


class _Mark:
    """The first element of a marked array."""

    __slots__ = ("build",)

    def __init__(self, build: "Callable[[list[Any]], Any]") -> None:
        self.build = build


def unpack(body: bytes, *buffers: bytes) -> Any:
    """Decode a value. It comes from the BEAM, which lets through only what a worker has pickled."""

    def extension(code: int, data: bytes) -> Any:
        if code == wire.BUFFER:
            return buffers[int.from_bytes(data[1:], "big")]
        return _EXTENSIONS[code](data)

    return unpackb(
        body,
        raw=True,
        strict_map_key=False,
        ext_hook=extension,
        list_hook=_list,
        object_hook=Map,
    )


def _list(items: "list[Any]") -> Any:
    if items and type(items[0]) is _Mark:
        return items[0].build(items)
    return List(items)


def _unpickled(data: bytes) -> Any:
    # The BEAM sends only what it has sealed when a worker had pickled it: docs/protocol.md.
    return pickle.loads(data)  # noqa: S301


_MARKS = {
    wire.TUPLE: _Mark(lambda items: tuple(items[1:])),
    wire.IMPROPER_LIST: _Mark(lambda items: ImproperList(items[1:-1], items[-1])),
    wire.PYTHON_OBJECT: _Mark(lambda items: _unpickled(items[1])),
}

_EXTENSIONS: "dict[int, Callable[[bytes], Any]]" = {
    wire.ATOM: Atom,
    wire.INTEGER: lambda data: int.from_bytes(data, "big", signed=True),
    wire.OPAQUE: opaque_from_wire,
    wire.CALLABLE: callable_from_wire,
    **{code: (lambda _data, mark=mark: mark) for code, mark in _MARKS.items()},  # type: ignore[misc]
}
