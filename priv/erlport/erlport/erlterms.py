"""Erlang's types that Python lacks, under the names that ErlPort has given them."""

from collections.abc import Iterable
from typing import Any

# Pids, references, ports, functions: to be kept, compared and handed back.
from erlang import Opaque as OpaqueObject

__all__ = ["Atom", "ImproperList", "List", "Map", "OpaqueObject"]

_MOST_CHARACTERS = 255


class Atom(bytes):
    """An atom: its name as bytes. There is one object for each name.

    Raises:
        TypeError: ``name`` is no ``bytes``.
        ValueError: it has not 1 to 255 characters, or is not UTF-8.
    """

    __slots__ = ()

    def __new__(cls, name: bytes) -> "Atom":
        known = _atoms.get(name) if isinstance(name, bytes) else None
        return _new_atom(cls, name) if known is None else known

    def __repr__(self) -> str:
        return f"Atom({bytes.__repr__(self)})"

    def __reduce__(self) -> "tuple[Any, ...]":
        return Atom, (bytes(self),)


# As in Erlang, they are never collected.
_atoms: "dict[bytes, Atom]" = {}


def _new_atom(cls: "type[Atom]", name: bytes) -> Atom:
    if not isinstance(name, bytes):
        raise TypeError(f"the name of an atom is bytes, such as Atom(b'ok'), got {name!r}")
    if not 1 <= len(name.decode()) <= _MOST_CHARACTERS:
        raise ValueError(f"an atom has 1 to {_MOST_CHARACTERS} characters, got {name!r}")
    return _atoms.setdefault(bytes(name), bytes.__new__(cls, name))


class List(list):  # type: ignore[type-arg]
    """A list of Erlang's, which may be meant as text."""

    __slots__ = ()

    def to_string(self) -> str:
        """The text of which the list has the code points.

        Raises:
            TypeError, ValueError: an element is none.
        """
        return "".join(map(chr, self))


class ImproperList(list):  # type: ignore[type-arg]
    """A list whose tail is no list.

    Args:
        items: at least one.
        tail: anything but a list.
    """

    __slots__ = ("tail",)

    def __init__(self, items: "Iterable[Any]", tail: Any) -> None:
        if isinstance(tail, list):
            raise TypeError("with a list as its tail it is no improper list")
        super().__init__(items)
        if not self:
            raise ValueError("an improper list has at least one element before its tail")
        self.tail = tail

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ImproperList):
            return False
        return list.__eq__(self, other) and bool(self.tail == other.tail)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __repr__(self) -> str:
        return f"ImproperList({list.__repr__(self)}, {self.tail!r})"

    def __reduce__(self) -> "tuple[Any, ...]":
        return ImproperList, (list(self), self.tail)


class Map(dict):  # type: ignore[type-arg]
    """A map of Erlang's."""

    __slots__ = ()
