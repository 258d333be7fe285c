"""Values that all workers and Elixir share: `ErlangPython.State`."""

from typing import Any

from erlang._calls import bridge


def state_get(key: Any, default: Any = None) -> Any:
    """The value of a key, or ``default``."""
    found, value = bridge().service("state_get", key)
    return value if found else default


def state_set(key: Any, value: Any) -> None:
    """Set the value of a key; an `ElixirError` if the state would get too large."""
    bridge().service("state_set", key, value)


def state_delete(key: Any) -> None:
    """Delete a key, if it is there."""
    bridge().service("state_delete", key)


def state_keys() -> "list[Any]":
    """All keys, in no particular order."""
    keys: "list[Any]" = bridge().service("state_keys")
    return keys


def state_clear() -> None:
    """Delete everything."""
    bridge().service("state_clear")


def state_incr(key: Any, by: int = 1) -> int:
    """Add to an integer and give the new value, in one step for everybody.

    A key that is not there begins with 0.

    Raises:
        TypeError: the value or ``by`` is no integer.
    """
    if type(by) is not int:
        raise TypeError(f"expected an int to add, got {by!r}")
    value: int = bridge().service("state_incr", key, by)
    return value


def state_decr(key: Any, by: int = 1) -> int:
    """Subtract from an integer; see `state_incr`."""
    return state_incr(key, -by)
