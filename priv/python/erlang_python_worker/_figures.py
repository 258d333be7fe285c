"""matplotlib in cells: figures are drawn in memory and shown where the cell's output goes.

The backend is `_matplotlib_backend.py`. It is chosen while matplotlib is imported, by the variable
that matplotlib reads then, and that programs which the cell starts must not inherit.
"""

import importlib.util
import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Optional

import erlang
from erlang_python_worker._display import FIGURE
from erlang_python_worker._types import name

_VARIABLE = "MPLBACKEND"
_BACKEND = "module://erlang_python_worker._matplotlib_backend"

_prepared = False


def prepare() -> None:
    """Before the code of a cell runs."""
    global _prepared
    if _prepared:
        return
    _prepared = True
    if _VARIABLE in os.environ:  # the user's choice
        return
    if "matplotlib" in sys.modules:
        sys.modules["matplotlib"].use(_BACKEND)
    else:
        sys.meta_path.insert(0, _Finder())


def show_open(without: Any = None) -> None:
    """Show the figures that are open, and close them."""
    pyplot = sys.modules.get("matplotlib.pyplot")
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
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")


def is_figure(value: Any) -> bool:
    return any(name(base) == FIGURE for base in type(value).__mro__)


class _Finder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> "Optional[ModuleSpec]":
        if fullname != "matplotlib":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            sys.meta_path.insert(0, self)  # it may be there later
            return spec
        spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> "Optional[ModuleType]":
        module: "Optional[ModuleType]" = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        os.environ[_VARIABLE] = _BACKEND
        try:
            self._loader.exec_module(module)
        finally:
            del os.environ[_VARIABLE]
