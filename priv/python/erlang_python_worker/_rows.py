"""Lists of dicts that all have the same atoms as keys: docs/protocol.md, "Marked arrays"."""

from operator import is_
from typing import Any

from msgpack import ExtType

from erlang import Atom
from erlang_python_worker._protocol import ROWS

# As in Elixir (rows.ex).
_LEAST = 8

_MARK = ExtType(ROWS, b"")


def as_rows(items: "list[Any]") -> "list[Any]":
    """A list as it is packed: with its keys once, if it is one of dicts that are alike."""
    if len(items) < _LEAST or type(items[0]) is not dict:
        return items
    keys = list(items[0])
    width = len(keys)
    if not keys or any(type(key) is not Atom for key in keys):
        return items
    for item in items:
        # By identity: a plain str equals the atom of its text.
        if type(item) is not dict or len(item) != width or not all(map(is_, item, keys)):
            return items
    return [_MARK, keys, *[list(item.values()) for item in items]]


def from_rows(items: "list[Any]") -> "list[dict[Any, Any]]":
    """The dicts of a marked array."""
    _, keys, *rows = items
    width = len(keys)
    if type(keys) is not list or not rows or len(set(keys)) != width or not width:
        raise ValueError("rows without keys of their own")
    if any(type(row) is not list or len(row) != width for row in rows):
        raise ValueError("a row has not as many values as there are keys")
    return [dict(zip(keys, row)) for row in rows]
