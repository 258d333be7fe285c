"""Puts `erlang.log` onto the root logger, when user code first imports `logging`.

Not before: it takes longer to import than the worker itself.
"""

import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Optional


def install() -> None:
    if "logging" in sys.modules:
        _attach(sys.modules["logging"])
    else:
        sys.meta_path.insert(0, _Finder())


def _attach(logging: Any) -> None:
    from erlang._log import log

    if log not in logging.root.handlers:
        logging.root.addHandler(log)


# Neither has the base class that importlib.abc defines: that takes longer than logging does.
class _Finder:
    def find_spec(
        self,
        name: str,
        path: "Sequence[str] | None",
        target: "ModuleType | None" = None,
    ) -> "Optional[importlib.machinery.ModuleSpec]":
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec


class _Loader:
    """Loads a module as its own loader does, then attaches the handler."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> "Optional[ModuleType]":
        module: "Optional[ModuleType]" = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        # As if its own loader had loaded it, also for whoever asks it for its source.
        spec = module.__spec__
        assert spec is not None
        spec.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _attach(module)
