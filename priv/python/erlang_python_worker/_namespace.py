import sys
import threading
import types
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import erlang
from erlang_python_worker._requests import whole

_MISSING = object()


class Namespace:
    """The globals of the code that Elixir sends: a ``__main__``.

    Args:
        context: the number of the context that it belongs to; ``None`` for that of the process.
    """

    def __init__(self, context: "int | None" = None) -> None:
        self.context = context
        module = types.ModuleType("__main__")
        # No __file__ and no __spec__: multiprocessing would run them again in each child.
        module.__dict__["erlang"] = erlang
        self.module = module
        self.globals: "dict[str, Any]" = module.__dict__
        if context is not None:
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

    def bound(
        self, bindings: "Mapping[str, Any] | None"
    ) -> "AbstractContextManager[dict[str, Any]]":
        """Globals for statements, with bindings for a while; a name that the code assigns stays."""
        if not bindings:
            return nullcontext(self.globals)
        if threading.get_ident() == threading.main_thread().ident:
            return _Lent(self.globals, bindings)
        return self.copied(bindings)

    @contextmanager
    def copied(self, bindings: "Mapping[str, Any] | None") -> "Iterator[dict[str, Any]]":
        """As `bound`, while others run statements with other values for the same names."""
        if not bindings:
            yield self.globals
            return
        names = self.extended(bindings)
        before = dict(names)
        try:
            yield names
        finally:
            # Threads of the request may go on.
            for name, value in list(names.items()):
                if before.get(name, _MISSING) is not value:
                    self.globals[name] = value
            for name in before.keys() - names.keys() - bindings.keys():
                self.globals.pop(name, None)


class _Lent:
    """Bindings among the globals."""

    def __init__(self, names: "dict[str, Any]", bindings: "Mapping[str, Any]") -> None:
        self._names = names
        self._bindings = bindings
        self._before = {name: names.get(name, _MISSING) for name in bindings}

    @whole
    def __enter__(self) -> "dict[str, Any]":
        self._names.update(self._bindings)
        return self._names

    @whole
    def __exit__(self, *_error: object) -> None:
        names = self._names
        for name, value in self._bindings.items():
            if names.get(name, _MISSING) is not value:
                continue
            if self._before[name] is _MISSING:
                names.pop(name, None)
            else:
                names[name] = self._before[name]
