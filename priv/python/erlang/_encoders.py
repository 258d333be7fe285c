from collections.abc import Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")
Encoder = TypeVar("Encoder", bound="Callable[[Any], Any]")

_TO_COME: Any = object()

# Types that the packer writes by itself: an encoder for them would never be asked.
_NATIVE = frozenset({type(None), bool, int, float, str, bytes, bytearray, memoryview, list, dict})

registered: "dict[type, Callable[[Any], Any]]" = {}

# What the worker found for a type, by way of its bases; another dict after each registration.
resolved: "dict[type, Callable[[Any, Any], Any]]" = {}

# What atoms became without an encoder of the user's: the worker's encoder looks here first.
# Emptied likewise.
atoms: "dict[str, Any]" = {}


@overload
def register_encoder(type: "type[T]", encoder: "Callable[[T], Any]") -> None: ...
@overload
def register_encoder(type: "type[T]") -> "Callable[[Encoder], Encoder]": ...
def register_encoder(type: Any, encoder: Any = _TO_COME) -> Any:
    """Say how instances of a type, and of its subclasses, go to Elixir.

    Args:
        type: any class but the built-in scalars, ``list`` and ``dict``.
        encoder: gets the instance, returns a value that has an encoding.

    Raises:
        TypeError: ``type`` is no class, is one of those, or ``encoder`` can't be called.

    The later registration wins; that of a class wins over that of its bases. Without an encoder it
    is a decorator of that.
    """
    if not isinstance(type, _class):
        raise TypeError(f"expected a class, got {type!r}")
    if type in _NATIVE:
        raise TypeError(f"{type.__name__} has its own form on the wire, which can't be changed")
    if encoder is _TO_COME:

        def decorate(encoder: Encoder) -> Encoder:
            register_encoder(type, encoder)
            return encoder

        return decorate
    if not callable(encoder):
        raise TypeError(f"expected a function of one argument, got {encoder!r}")
    registered[type] = encoder
    forget()
    atoms.clear()
    return None


def forget() -> None:
    """Look anew for what each type becomes."""
    global resolved
    # Not `clear`: a thread may be about to add what it found before.
    resolved = {}


_class = type
