"""The table of extension types and marked arrays: how each comes from Elixir."""

import datetime
import struct
from typing import Any, Callable

import erlang
from erlang._handles import callable_from_wire, opaque_from_wire
from erlang_python_worker import _protocol as wire
from erlang_python_worker._arrays import TENSOR_KINDS
from erlang_python_worker._kept import kept
from erlang_python_worker._rows import from_rows
from erlang_python_worker._types import REGEX_FLAGS

_EPOCH = datetime.datetime(1970, 1, 1)
_EPOCH_DAY = _EPOCH.toordinal()
_DAY_US = 86_400_000_000
_RE_ASCII = 256  # re.ASCII

_read_i32 = struct.Struct(">i").unpack
_read_i64 = struct.Struct(">q").unpack
_read_u64 = struct.Struct(">Q").unpack

_MAX_ATOMS = 4_096  # kept; a BEAM that sends ever new atoms must not fill the memory
_MAX_ATOM_SIZE = 1_020
_MAC_SIZE = 16


class DecodeError(Exception):
    """A body breaks the rules of docs/protocol.md, "Values"."""


class Released(DecodeError):
    """A request for an object that is no longer kept."""


class ExplicitBytes:
    """Bytes that stay bytes while a body is read raw."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class Mark:
    """The first element of a marked array."""

    __slots__ = ("build", "code")

    def __init__(self, code: int, build: "Callable[[list[Any]], Any]") -> None:
        self.code = code
        self.build = build


def text_or_bytes(data: Any) -> "str | bytes":
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        return bytes(data)


# The decoder looks here first.
atoms: "dict[bytes, erlang.Atom]" = {}


def _new_atom(data: bytes) -> erlang.Atom:
    if len(data) > _MAX_ATOM_SIZE:
        raise DecodeError("an atom is longer than 1,020 bytes")
    try:
        atom = erlang.Atom(data.decode())
    except UnicodeDecodeError:
        raise DecodeError("an atom is not UTF-8") from None
    if len(atoms) >= _MAX_ATOMS:
        atoms.clear()
    atoms[data] = atom
    return atom


def _integer(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _opaque(data: bytes) -> Any:
    _check(len(data) > _MAC_SIZE + 1, "a handle has a mac and a term")
    return opaque_from_wire(data)


def _callable(data: bytes) -> Any:
    _check(len(data) > _MAC_SIZE + 1, "a handle has a mac and a term")
    return callable_from_wire(data)


def _iterator(data: bytes) -> Any:
    pid = _opaque(data)
    _check(isinstance(pid, erlang.Pid), "an iterator is a process")
    return erlang.Iterator(pid)


_OBJECT_SIZE = 16


def _object(name: bytes) -> Any:
    _check(len(name) == _OBJECT_SIZE, "a name of an object has 16 bytes")
    _check(kept.is_of_this_process(name), "a Ref of another worker")
    try:
        return kept.get(name)
    except KeyError:
        raise Released("a Ref that was released") from None


def _stray_buffer(_data: bytes) -> Any:
    raise DecodeError("a buffer that does not follow the message")


def _date(data: bytes) -> datetime.date:
    return datetime.date.fromordinal(_read_i32(data)[0] + _EPOCH_DAY)


def _time(data: bytes) -> datetime.time:
    microseconds = _read_u64(data)[0]
    _check(microseconds < _DAY_US, "a time is past the end of the day")
    return (_EPOCH + datetime.timedelta(microseconds=microseconds)).time()


def _naive_datetime(data: bytes) -> datetime.datetime:
    return _EPOCH + datetime.timedelta(microseconds=_read_i64(data)[0])


def _duration(data: bytes) -> datetime.timedelta:
    return datetime.timedelta(microseconds=_read_i64(data)[0])


def _decimal(data: bytes) -> Any:
    from decimal import Decimal

    return Decimal(data.decode("ascii"))


def _tuple(items: "list[Any]") -> "tuple[Any, ...]":
    del items[0]
    return tuple(items)


def _set(items: "list[Any]") -> "set[Any]":
    del items[0]
    try:
        return set(items)
    except TypeError:  # sets in a set
        return {frozenset(item) if type(item) is set else item for item in items}


def _datetime(items: "list[Any]") -> datetime.datetime:
    _, microseconds, utc_offset, std_offset, abbreviation, zone = items
    # Not timedelta(microseconds=...) of a float: only an int keeps every microsecond.
    _check(type(microseconds) is int and type(zone) is str, "a datetime of other types")
    utc = _EPOCH + datetime.timedelta(microseconds=microseconds)
    offset = datetime.timedelta(seconds=utc_offset + std_offset)
    return utc.replace(tzinfo=datetime.timezone.utc).astimezone(
        _named_zone(zone, utc, offset) or datetime.timezone(offset, abbreviation)
    )


def _named_zone(
    zone: str, utc: datetime.datetime, offset: datetime.timedelta
) -> "datetime.tzinfo | None":
    """The zone by its name, if this machine's database agrees about the offset."""
    try:
        from zoneinfo import ZoneInfo

        info = ZoneInfo(zone)
        aware = utc.replace(tzinfo=datetime.timezone.utc).astimezone(info)
    except Exception:  # unknown, no database, or no valid name
        return None
    return info if aware.utcoffset() == offset else None


def _tensor(items: "list[Any]") -> Any:
    _, dtype, shape, data = items
    # dtype is NumPy's typestr: order, kind and size. No objects, no records.
    _check(
        type(dtype) is str and dtype[:1] in "<>|=" and dtype[1:2] in tuple(TENSOR_KINDS),
        "a tensor of no known dtype",
    )
    _check(all(type(size) is int and size >= 0 for size in shape), "a tensor with no valid shape")
    numpy = _numpy()
    if numpy is None:
        return erlang.Tensor(dtype, tuple(shape), bytes(data))
    # A bytearray: arrays can be written to, whether their data came out of band or not.
    data = data if type(data) is memoryview else bytearray(data)
    return numpy.frombuffer(data, numpy.dtype(dtype)).reshape(shape)


def _numpy() -> Any:
    try:
        # Not taken out of `sys.modules`: another thread may be importing it.
        import numpy
    except ImportError:
        return None
    return numpy


def _range(items: "list[Any]") -> range:
    _, first, last, step = items
    _check(step != 0, "a range's step is 0")
    return range(first, last + (1 if step > 0 else -1), step)


def _regex(items: "list[Any]") -> Any:
    import re

    _, pattern, letters = items
    flags = sum(bit for letter, bit in REGEX_FLAGS if letter in letters)
    _check(set(letters) <= {letter for letter, _ in REGEX_FLAGS}, "a regex of unknown flags")
    return re.compile(pattern, flags if "u" in letters else flags | _RE_ASCII)


def _exception(_items: "list[Any]") -> Any:
    raise DecodeError("an exception travels to Elixir only")


def _dataframe(items: "list[Any]") -> Any:
    # Not before it is needed.
    from erlang_python_worker._dataframes import read

    _, stream = items
    _check(isinstance(stream, bytes), "a dataframe of other types")
    return read(stream)


def _check(right: bool, message: str) -> None:
    if not right:
        raise DecodeError(message)


EXTENSIONS: "dict[int, Callable[[bytes], Any]]" = {
    wire.ATOM: _new_atom,
    wire.INTEGER: _integer,
    wire.OPAQUE: _opaque,
    wire.CALLABLE: _callable,
    wire.ITERATOR: _iterator,
    wire.OBJECT: _object,
    wire.BUFFER: _stray_buffer,
    wire.DATE: _date,
    wire.TIME: _time,
    wire.NAIVE_DATETIME: _naive_datetime,
    wire.DURATION: _duration,
    wire.DECIMAL: _decimal,
}

MARKED = {
    code: Mark(code, build)
    for code, build in (
        (wire.TUPLE, _tuple),
        (wire.SET, _set),
        (wire.DATETIME, _datetime),
        (wire.EXCEPTION, _exception),
        (wire.TENSOR, _tensor),
        (wire.RANGE, _range),
        (wire.REGEX, _regex),
        (wire.DATAFRAME, _dataframe),
        (wire.ROWS, from_rows),
    )
}
