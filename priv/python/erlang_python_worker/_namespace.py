import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import erlang

_MISSING = object()


class Namespace:
    """The globals of the code that Elixir sends: a ``__main__``.

    Args:
        of_process: whether it is that of the process, or that of a context.
    """

    def __init__(self, of_process: bool = True) -> None:
        module = types.ModuleType("__main__")
        # No __file__ and no __spec__: multiprocessing would run them again in each child.
        module.__dict__["erlang"] = erlang
        self.module = module
        self.globals: "dict[str, Any]" = module.__dict__
        if not of_process:
            return
        # Its globals are emptied when nobody refers to it, and its functions still run.
        self._starter = sys.modules["__main__"]
        sys.modules["__main__"] = module

    def extended(self, bindings: "Mapping[str, Any] | None") -> "dict[str, Any]":
        """Globals for one expression: a copy if there are bindings.

        A copy, not an overlay that is taken away again: what the expression leaves behind (a
        lambda, a generator) still finds its bindings.
        """
        return {**self.globals, **bindings} if bindings else self.globals

    @contextmanager
    def bound(self, bindings: "Mapping[str, Any] | None") -> "Iterator[None]":
        """Bindings as globals for a while; a name that the code assigns anew stays."""
        if not bindings:
            yield
            return
        names = self.globals
        before = {name: names.get(name, _MISSING) for name in bindings}
        names.update(bindings)
        try:
            yield
        finally:
            for name, value in bindings.items():
                if names.get(name, _MISSING) is not value:
                    continue
                if before[name] is _MISSING:
                    del names[name]
                else:
                    names[name] = before[name]
