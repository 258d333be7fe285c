"""What Python code in a worker may use of Elixir and Erlang.

Besides the names below, each function that Elixir has registered is an attribute:
``erlang.NAME(...)`` and ``from erlang import NAME``. ``erlang.log`` is a handler
of `logging` that sends records to Elixir's Logger; in workers the root logger has it.
"""

import typing as _typing

from erlang import _calls
from erlang._atom import Atom
from erlang._calls import acall, call, cast, send
from erlang._display import display
from erlang._elixir_error import ElixirError, UnknownFunction
from erlang._encoders import register_encoder
from erlang._handles import Callable, Opaque, Pid, Ref
from erlang._interrupted import Interrupted
from erlang._iterator import Iterator
from erlang._progress import progress
from erlang._request import Request, current_request
from erlang._span import Span, trace
from erlang._state import (
    state_clear,
    state_decr,
    state_delete,
    state_get,
    state_incr,
    state_keys,
    state_set,
)
from erlang._tensor import Tensor

if _typing.TYPE_CHECKING:
    from erlang._log import log as log

__all__ = [
    "Atom",
    "Callable",
    "ElixirError",
    "Interrupted",
    "Iterator",
    "Opaque",
    "Pid",
    "Ref",
    "Request",
    "Span",
    "Tensor",
    "UnknownFunction",
    "acall",
    "call",
    "cast",
    "current_request",
    "display",
    "progress",
    "register_encoder",
    "send",
    "state_clear",
    "state_decr",
    "state_delete",
    "state_get",
    "state_incr",
    "state_keys",
    "state_set",
    "trace",
]

# Names in tracebacks and pickles are those that users import.
for _name in __all__:
    globals()[_name].__module__ = __name__


def __dir__() -> "list[str]":
    return sorted({*globals(), "log"})


def __getattr__(name: str) -> _calls.Function:
    if name == "log":  # logging takes long to import
        # By itself, before the module below does: when logging is there, workers attach the
        # handler, and need that module whole.
        import logging  # noqa: F401

        from erlang._log import log

        return log  # type: ignore[return-value]  # type checkers have it from above
    # Python itself looks for many such names, in modules of any kind; `call` knows them all.
    if name.startswith("_"):
        raise AttributeError(f"module 'erlang' has no attribute {name!r}")
    if not _calls.connected():
        raise AttributeError(f"module 'erlang' has no attribute {name!r}: {_calls.no_worker()}")
    if name not in _calls.known:
        if not _calls.bridge().service("registered", name):
            raise UnknownFunction(
                f"module 'erlang' has no attribute {name!r}, "
                "and no function of this name is registered "
                "(ErlangPython.register, py:register_function)"
            )
        _calls.known.add(name)
    return _calls.Function(name)
