"""What is to happen when user code first imports a module.

Not before: these take longer to import than the worker itself, or are not there.
"""

import importlib
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Callable, Optional


def when_imported(name: str, attach: "Callable[[Any], None]") -> None:
    """Call ``attach`` with the module, now if it is loaded already."""
    if name in sys.modules:
        attach(importlib.import_module(name))  # waits for a thread that still imports it
    else:
        sys.meta_path.insert(0, _Finder(name, attach))


def loaded(name: str) -> Any:
    """The module, if it is there, and no thread still imports it."""
    module = sys.modules.get(name)
    importing = getattr(getattr(module, "__spec__", None), "_initializing", False)
    return None if importing else module


# Neither has the base class that importlib.abc defines: that takes longer than logging does.
class _Finder:
    def __init__(self, name: str, attach: "Callable[[Any], None]") -> None:
        self._name = name
        self._attach = attach

    def find_spec(
        self,
        name: str,
        path: "Sequence[str] | None",
        target: "ModuleType | None" = None,
    ) -> "Optional[importlib.machinery.ModuleSpec]":
        if name != self._name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._done)  # type: ignore[assignment]
        return spec

    def _done(self, module: ModuleType) -> None:
        # It stays among the finders: another thread may go through these, and would miss the next.
        self._name = ""
        self._attach(module)


class _Loader:
    """Loads a module as its own loader does, then attaches to it."""

    def __init__(self, loader: Any, done: "Callable[[ModuleType], None]") -> None:
        self._loader = loader
        self._done = done

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> "Optional[ModuleType]":
        module: "Optional[ModuleType]" = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        # As if its own loader had loaded it, also for whoever asks it for its source.
        spec = module.__spec__
        assert spec is not None
        spec.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._done(module)
