from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable

from erlang import _request

# What shows a value, by the key of the request that runs a cell.
_shows: "dict[bytes, Callable[[Any], None]]" = {}


@contextmanager
def shown_by(show: "Callable[[Any], None]") -> "Iterator[None]":
    """Let `display` give to this function what the code of the current request shows."""
    running = _request._current()
    assert running is not None
    _shows[running.key] = show
    try:
        yield
    finally:
        del _shows[running.key]


def display(*values: Any) -> None:
    """Show values in the output of a notebook's cell: as tables, pictures or text.

    From any thread that the cell has started. Elsewhere than in a cell they are printed.

    Args:
        values: any; how each looks is for its own `_repr_html_` and the like to say.
    """
    running = _request._current()
    show = None if running is None else _shows.get(running.key)
    for value in values:
        if show is None:
            print(repr(value))
        else:
            show(value)
