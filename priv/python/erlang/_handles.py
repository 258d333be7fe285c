from typing import Any, NoReturn

_MAC_SIZE = 16  # docs/protocol.md, "Extensions with data"


class Opaque:
    """A term of Elixir's that Python can keep, compare, use as a key and hand back, no more.

    Handles come from Elixir only. They carry a seal of the BEAM's that is checked when they
    come back, so making one up gains nothing.
    """

    __slots__ = ("__weakref__", "_data")
    _data: bytes

    def __new__(cls, *_args: Any, **_kwargs: Any) -> "Opaque":
        raise TypeError(f"erlang.{cls.__name__} comes from Elixir and can't be made in Python")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Opaque):
            return NotImplemented
        return type(self) is type(other) and self._data == other._data

    def __hash__(self) -> int:
        return hash(self._data)

    def __repr__(self) -> str:
        return f"<erlang.{type(self).__name__} {self._text()}>"

    def __reduce__(self) -> "tuple[Any, ...]":
        return from_wire, (type(self), self._data)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"erlang.{type(self).__name__} can't be changed")

    def _text(self) -> str:
        return f"of {len(self._data) - _MAC_SIZE} bytes"


class Pid(Opaque):
    """A process."""

    __slots__ = ()

    def _text(self) -> str:
        node, rest = _node(self._data[_MAC_SIZE + 2 :])
        number, serial = (int.from_bytes(rest[i : i + 4], "big") for i in (0, 4))
        return f"{number}.{serial} on {node}"


class Ref(Opaque):
    """A reference."""

    __slots__ = ()

    def _text(self) -> str:
        node, rest = _node(self._data[_MAC_SIZE + 4 :])
        words = [int.from_bytes(rest[i : i + 4], "big") for i in range(4, len(rest), 4)]
        return f"{'.'.join(map(str, reversed(words)))} on {node}"


class Callable(Opaque):
    """A function: call it as one of Python's."""

    __slots__ = ()

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        from erlang import _calls

        return _calls.bridge().call(self, args, kwargs)


def _node(data: bytes) -> "tuple[str, bytes]":
    # An atom of the external term format: SMALL_ATOM_UTF8_EXT (119) or ATOM_UTF8_EXT (118).
    start = 2 if data[:1] == b"w" else 3
    size = int.from_bytes(data[1:start], "big")
    return data[start : start + size].decode("utf-8", "replace"), data[start + size :]


# Tags of the external term format, after its version byte 131.
_NEW_PID, _NEWER_REFERENCE = 88, 90


def opaque_from_wire(data: bytes) -> Opaque:
    tag = data[_MAC_SIZE + 1]
    return from_wire({_NEW_PID: Pid, _NEWER_REFERENCE: Ref}.get(tag, Opaque), data)


def callable_from_wire(data: bytes) -> Opaque:
    return from_wire(Callable, data)


def from_wire(cls: "type[Opaque]", data: bytes) -> Opaque:
    handle: Opaque = object.__new__(cls)
    object.__setattr__(handle, "_data", data)
    return handle
