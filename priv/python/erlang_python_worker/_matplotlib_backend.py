"""A backend of matplotlib's, for `_figures.py`: what its documentation asks of such a module."""

from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvas

from erlang_python_worker._figures import show_open

__all__ = ["FigureCanvas", "show"]


def show(*_args: Any, **_kwargs: Any) -> None:
    """What `pyplot.show()` calls."""
    show_open()
