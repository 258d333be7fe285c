"""matplotlib in cells: figures are drawn in memory and shown where the cell's output goes."""

import os
from typing import Any

import erlang
from erlang_python_worker._import_hooks import loaded, when_imported

_BACKEND = "module://erlang_python_worker._matplotlib_backend"

_prepared = False


def prepare() -> None:
    """Before the code of a cell runs."""
    global _prepared
    if _prepared:
        return
    _prepared = True
    # Unless the user has chosen another. Not by this variable: programs that a cell starts would
    # inherit it, and have no such backend.
    if "MPLBACKEND" not in os.environ:
        when_imported("matplotlib", lambda matplotlib: matplotlib.use(_BACKEND))


def show_open(without: Any = None) -> None:
    """Show the figures that are open, and close them."""
    pyplot = loaded("matplotlib.pyplot")
    if pyplot is None:
        return
    try:
        for number in pyplot.get_fignums():
            figure = pyplot.figure(number)
            if figure is not without:
                erlang.display(figure)
    finally:
        pyplot.close("all")


def close_open() -> None:
    pyplot = loaded("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")
