"""The table of Python types that MessagePack lacks: how each goes to Elixir.

Types of modules that a program may never import (numpy, decimal, uuid, ...) are known by
name, so that the worker imports none of them itself.
"""

import datetime
import struct
from typing import Any, Callable

from msgpack import ExtType, Timestamp

import erlang
from erlang import _encoders
from erlang_python_worker import _arrays
from erlang_python_worker import _protocol as wire
from erlang_python_worker._encoder import MARKS, Converter, EncodeError, Encoder

_EPOCH = datetime.datetime(1970, 1, 1)
_UTC_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_EPOCH_DAY = _EPOCH.toordinal()
_MICROSECOND = datetime.timedelta(microseconds=1)

_i32 = struct.Struct(">i").pack
_i64 = struct.Struct(">q").pack
_u64 = struct.Struct(">Q").pack

_TUPLE = MARKS[wire.TUPLE]


def find(kind: type) -> Converter:
    """The converter of a type.

    Raises:
        EncodeError: it has none.
    """
    resolved = _encoders.resolved
    known = resolved.get(kind)
    if known is None:
        known = _search(kind)
        if len(resolved) >= 1_024:  # classes made in a loop must not stay for ever
            resolved.clear()
        resolved[kind] = known
    return known


def _search(kind: type) -> Converter:
    for base in kind.__mro__:
        registered = _encoders.registered.get(base)
        if registered is not None:
            return _by_user(registered)
    names = [_key(base) for base in kind.__mro__]
    if "enum.Enum" in names:
        return _value
    if hasattr(kind, "__dataclass_fields__"):
        return _dataclass
    if hasattr(kind, "__attrs_attrs__"):
        return _attrs
    for candidate in names:
        converter = _BY_NAME.get(candidate)
        if converter is not None:
            return converter
    instead = next((_INSTEAD[base] for base in names if base in _INSTEAD), None)
    if instead is None and _arrays.is_of_another_library(kind):
        return _arrays.of_another_library
    if hasattr(kind, "__next__") or hasattr(kind, "__anext__"):
        raise EncodeError(
            f"cannot send a value of type '{name(kind)}' to Elixir: read it as a stream "
            "(ErlangPython.stream, py:stream), or return a list"
        )
    raise EncodeError(
        f"cannot send a value of type '{name(kind)}' to Elixir: {instead or _advice(kind)}, "
        "keep it in Python (return: :ref), or register an encoder for the type "
        "(erlang.register_encoder)"
    )


def _advice(kind: type) -> str:
    # Not before it is needed.
    from erlang_python_worker._display import is_rich

    method = next((name for name in _CONVERSIONS if hasattr(kind, name)), None)
    plain = "return plain data" if method is None else f"return its .{method}()"
    return f"{plain}, {_SHOWN}" if is_rich(kind) else plain


# Methods that give plain data, by the names that many libraries have for them.
_CONVERSIONS = ("tolist", "to_list", "to_dict", "numpy", "to_numpy")
_SHOWN = "show it in a cell or by display: true"
_SERIES = "return its .tolist() or .to_dict()"
_COLUMN = "return its .to_pylist()"

# What to do with well-known types that have no form of their own.
_INSTEAD = {
    "pandas.Series": _SERIES,
    "pandas.core.series.Series": _SERIES,  # before pandas 3
    "polars.lazyframe.frame.LazyFrame": "return its .collect()",
    "scipy.sparse._base._spbase": "return its .toarray()",
    "matplotlib.figure.Figure": _SHOWN,
    "pyarrow.lib.Array": _COLUMN,
    "pyarrow.lib.ChunkedArray": _COLUMN,
}


def _key(kind: type) -> str:
    """The class as the table below names it, in which no class of a program's own stands."""
    module, qualified = getattr(kind, "__module__", None), kind.__qualname__
    return qualified if module == "builtins" else f"{module}.{qualified}"


def name(kind: type) -> str:
    """The class as Python's own tracebacks name it."""
    module = getattr(kind, "__module__", None)
    qualified = str(kind.__qualname__)
    return qualified if module in ("builtins", "__main__", None) else f"{module}.{qualified}"


def _by_user(encode: "Callable[[Any], Any]") -> Converter:
    def convert(_encoder: Encoder, value: Any) -> Any:
        try:
            result = encode(value)
        except Exception as error:
            told = f"the encoder of '{name(type(value))}' raised {type(error).__name__}: {error}"
            raise EncodeError(told) from error
        if type(result) is type(value):
            raise EncodeError(f"the encoder of '{name(type(value))}' returned the same type")
        return result

    return convert


def _ext(code: int, encode: "Callable[[Any], bytes]") -> Converter:
    return lambda _encoder, value: ExtType(code, encode(value))


def _to(convert: "Callable[[Any], Any]") -> Converter:
    return lambda _encoder, value: convert(value)


_nil = _to(lambda _value: None)


def _tuple(_encoder: Encoder, value: Any) -> Any:
    return [_TUPLE, *value]


def _set(encoder: Encoder, value: "set[Any]") -> Any:
    return list(value) if encoder.plain else [MARKS[wire.SET], *value]


_MAX_ATOMS = 4_096


def _new_atom(_encoder: Encoder, value: erlang.Atom) -> ExtType:
    if len(_encoders.atoms) >= _MAX_ATOMS:
        _encoders.atoms.clear()
    packed = _encoders.atoms[value] = ExtType(wire.ATOM, str.encode(value))
    return packed


def _value(_encoder: Encoder, value: Any) -> Any:
    return value.value


def _dataclass(_encoder: Encoder, value: Any) -> Any:
    # Pseudo-fields (ClassVar, InitVar) stand in the same dict and are no attributes.
    return {
        field.name: getattr(value, field.name)
        for field in value.__dataclass_fields__.values()
        if field._field_type.name == "_FIELD"
    }


def _attrs(_encoder: Encoder, value: Any) -> Any:
    return {field.name: getattr(value, field.name) for field in value.__attrs_attrs__}


def _struct(_encoder: Encoder, value: Any) -> Any:
    return {field: getattr(value, field) for field in value.__struct_fields__}


def _model(_encoder: Encoder, value: Any) -> Any:
    # Before pydantic 2 it has another name.
    return value.model_dump() if hasattr(value, "model_dump") else value.dict()


def _range(_encoder: Encoder, value: range) -> Any:
    last = value[-1] if value else value.start - value.step
    return [MARKS[wire.RANGE], value.start, last, value.step]


def _datetime(_encoder: Encoder, value: datetime.datetime) -> Any:
    offset = value.utcoffset()
    if offset is None:
        since = value.replace(tzinfo=None) - _EPOCH
        return ExtType(wire.NAIVE_DATETIME, _i64(since // _MICROSECOND))
    since = value - _UTC_EPOCH
    # zoneinfo's, pytz's.
    key = getattr(value.tzinfo, "key", None) or getattr(value.tzinfo, "zone", None)
    zone = key or value.tzname() or ""
    if not offset and (value.tzinfo is datetime.timezone.utc or zone in ("UTC", "Etc/UTC")):
        return Timestamp(since.days * 86_400 + since.seconds, since.microseconds * 1_000)
    saving = value.dst() or datetime.timedelta()
    return [
        MARKS[wire.DATETIME],
        since // _MICROSECOND,
        int((offset - saving).total_seconds()),
        int(saving.total_seconds()),
        value.tzname() or "",
        zone,
    ]


def _time(value: datetime.time) -> bytes:
    if value.tzinfo is not None:
        raise EncodeError("cannot encode a time with a time zone")
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return _u64(seconds * 1_000_000 + value.microsecond)


def _duration(value: datetime.timedelta) -> bytes:
    try:
        return _i64(value // _MICROSECOND)
    except struct.error:
        raise EncodeError("cannot encode a timedelta beyond 64 bits of microseconds") from None


def _decimal(value: Any) -> bytes:
    return b"NaN" if value.is_nan() else str(value).encode()


def _pattern(_encoder: Encoder, value: Any) -> Any:
    if not isinstance(value.pattern, str):
        raise EncodeError("cannot encode a pattern of bytes")
    flags = "".join(letter for letter, bit in REGEX_FLAGS if value.flags & bit)
    return [MARKS[wire.REGEX], value.pattern, flags]


# re.I, re.M, re.S, re.U and re.X; Python's numbers for them are documented as sre constants.
REGEX_FLAGS = (("i", 2), ("m", 8), ("s", 16), ("u", 32), ("x", 64))


def _dataframe(encoder: Encoder, value: Any) -> Any:
    # Not before it is needed.
    from erlang_python_worker._dataframes import write

    return write(encoder, value)


def _tensor(encoder: Encoder, value: erlang.Tensor) -> Any:
    data = encoder.data(memoryview(value.data))
    return [MARKS[wire.TENSOR], value.dtype, list(value.shape), data]


def _exception(_encoder: Encoder, value: BaseException) -> Any:
    from erlang_python_worker._errors import describe

    return describe(value)


_BY_NAME: "dict[str, Converter]" = {
    "erlang.Atom": _new_atom,
    "erlang.Callable": _ext(wire.CALLABLE, lambda value: value._data),
    "erlang.Opaque": _ext(wire.OPAQUE, lambda value: value._data),
    "erlang.Tensor": _tensor,
    "tuple": _tuple,
    "set": _set,
    "frozenset": _set,
    "range": _range,
    # Subclasses of what the packer knows: it takes only the classes themselves.
    "str": _to(str.__str__),
    "bytes": _to(lambda value: bytes(memoryview(value))),
    "bytearray": _to(lambda value: bytes(memoryview(value))),
    "int": _to(int.__int__),
    "float": _to(float.__float__),
    "list": _to(lambda value: list(value)),
    "dict": _to(lambda value: dict(value)),
    "mappingproxy": _to(dict),
    "dict_keys": _to(list),
    "dict_values": _to(list),
    "dict_items": _to(list),
    "BaseException": _exception,
    "collections.deque": _to(list),
    "collections.UserDict": _to(dict),
    "collections.UserList": _to(list),
    "collections.ChainMap": _to(dict),
    "collections.abc.Mapping": _to(dict),
    "datetime.datetime": _datetime,
    "datetime.date": _ext(wire.DATE, lambda value: _i32(value.toordinal() - _EPOCH_DAY)),
    "datetime.time": _ext(wire.TIME, _time),
    "datetime.timedelta": _ext(wire.DURATION, _duration),
    "decimal.Decimal": _ext(wire.DECIMAL, _decimal),
    "re.Pattern": _pattern,
    "uuid.UUID": _to(str),
    "pathlib.PurePath": _to(str),
    "pathlib._local.PurePath": _to(str),
    "array.array": _to(lambda value: value.tolist()),
    "numpy.ndarray": _arrays.array,
    "numpy.generic": _arrays.scalar,
    "msgspec.Struct": _struct,
    "pydantic.main.BaseModel": _model,
    "sqlalchemy.engine.row.Row": _tuple,
    "sqlite3.Row": _to(dict),
    "pandas.DataFrame": _dataframe,
    "pandas.core.frame.DataFrame": _dataframe,  # before pandas 3
    "polars.dataframe.frame.DataFrame": _dataframe,
    "pyarrow.lib.Table": _dataframe,
    "pyarrow.lib.RecordBatch": _dataframe,
    "pandas._libs.tslibs.nattype.NaTType": _nil,
    "pandas._libs.missing.NAType": _nil,
    # Since pandas 3.
    "pandas.api.typing.NaTType": _nil,
    "pandas.api.typing.NAType": _nil,
}


def stays_in_cells(kind: type) -> bool:
    """Would it come back as another type than it was, and be large?"""
    dataframe = any(_BY_NAME.get(_key(base)) is _dataframe for base in kind.__mro__)
    return dataframe or _arrays.is_of_another_library(kind)
