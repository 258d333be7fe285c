"""The golden vectors, with the values of the Python column made."""

import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import pathlib
import re
import sys
import uuid
import zoneinfo
from pathlib import Path
from typing import Any

import numpy as np
from msgpack import ExtType

import erlang
from erlang._handles import callable_from_wire, opaque_from_wire

FOLDER = Path(__file__).parent.parent / "test" / "vectors"


def rows(name: str) -> "list[list[str]]":
    text = (FOLDER / name).read_text("utf-8")
    return [line.split("\t") for line in text.rstrip("\n").split("\n")]


def opaque(code: int, data: str) -> erlang.Opaque:
    return (opaque_from_wire if code == 4 else callable_from_wire)(bytes.fromhex(data))


def mark(code: int) -> ExtType:
    return ExtType(code, b"")


_NAMES = {
    "collections": collections,
    "dataclasses": dataclasses,
    "datetime": datetime,
    "decimal": decimal,
    "enum": enum,
    "erlang": erlang,
    "functools": functools,
    "mark": mark,
    "numpy": np,
    "opaque": opaque,
    "pathlib": pathlib,
    "re": re,
    "uuid": uuid,
    "zoneinfo": zoneinfo,
}


def value(expression: str) -> Any:
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    return eval(expression, dict(_NAMES))


def same(left: Any, right: Any) -> bool:
    """Equal, of the same types at every depth, NaN and the sign of zero included."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left.items()), list(right.items()))
    if isinstance(left, (set, frozenset)):
        return left == right and {type(item) for item in left} == {type(item) for item in right}
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    if isinstance(left, (float, decimal.Decimal)):
        return repr(left) == repr(right)
    if isinstance(left, datetime.datetime):
        return bool(left == right) and left.utcoffset() == right.utcoffset()
    return bool(left == right)
