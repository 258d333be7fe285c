"""Calling into Elixir and Erlang."""

import os
import threading
from typing import Any, Optional, Protocol

from erlang._child import given
from erlang._elixir_error import UnknownFunction
from erlang._handles import Callable, Pid


class _Bridge(Protocol):
    def call(self, function: Any, args: "tuple[Any, ...]", kwargs: "dict[str, Any]") -> Any: ...

    async def acall(
        self, function: Any, args: "tuple[Any, ...]", kwargs: "dict[str, Any]"
    ) -> Any: ...

    async def aservice(self, name: str, *args: Any) -> Any: ...

    def cast(self, function: Any, args: "tuple[Any, ...]", kwargs: "dict[str, Any]") -> None: ...

    def service(self, name: str, *args: Any) -> Any: ...

    def send(self, pid: Pid, message: Any) -> None: ...

    def log(self, body: "list[Any]") -> bool: ...

    def send_later(self, pid: Pid, message: Any) -> None: ...


# Set by the worker; its children make their own when they need one.
_bridge: "Optional[_Bridge]" = None

# Held by the thread that makes one; a destructor may come in between, and need one too.
_making = threading.RLock()

# Is this a worker whose last code runs, such as that of `atexit`?
leaving = False


def connected() -> bool:
    """Is this process a worker, or a child of one?"""
    return _bridge is not None or (given() is not None and not leaving)


def bridge() -> _Bridge:
    global _bridge
    found = _bridge
    if found is None:
        with _making:
            if _bridge is None:
                _bridge = _child_bridge()
            found = _bridge
    return found


def _child_bridge() -> _Bridge:
    child = given()
    if child is None or leaving:
        raise no_worker()
    # Only what calls is paid for.
    from erlang_python_worker._child_bridge import ChildBridge

    return ChildBridge(*child)


def _forget_bridge() -> None:
    """In a forked child: its parent's connections are not its own, nor are the locks of threads."""
    global _bridge, _making
    _bridge = None
    _making = threading.RLock()


os.register_at_fork(after_in_child=_forget_bridge)


def no_worker() -> RuntimeError:
    if leaving:
        return RuntimeError("the worker is leaving, and can't call Elixir any more")
    return RuntimeError(
        f"process {os.getpid()} has no Elixir to call: it is no worker of erlang_python, and no "
        "child that one has made by os.fork or multiprocessing"
    )


def call(function: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Call a function in Elixir and wait for its result; other threads go on meanwhile.

    Args:
        function: the name under which it was registered, or a function that was passed in.
        args: its arguments.
        kwargs: only for functions that were registered with ``kwargs: true``.

    Raises:
        UnknownFunction: no function was registered under this name.
        ElixirError: it raised, threw or exited, or its process was killed.
        TypeError: it does not take these arguments, or one of them has no encoding.
    """
    return bridge().call(_target(function), args, kwargs)


async def acall(function: Any, /, *args: Any, **kwargs: Any) -> Any:
    """As `call`, but other coroutines of the event loop go on meanwhile."""
    return await bridge().acall(_target(function), args, kwargs)


def cast(function: Any, /, *args: Any, **kwargs: Any) -> None:
    """As `call`, but does not wait: a failure is logged by Elixir."""
    bridge().cast(_target(function), args, kwargs)


def send(destination: "Pid | str", message: Any, /) -> None:
    """Send a message to a process of Elixir's.

    Args:
        destination: a pid that was passed in, or the name of a registered process that the
            application allows (``config :erlang_python, send_to: [...]``).
        message: any value that has an encoding.

    Raises:
        UnknownFunction: no process of this name is allowed.
        TypeError: ``destination`` is neither, or the message has no encoding.
    """
    if isinstance(destination, Pid):
        bridge().send(destination, message)
    elif isinstance(destination, str):
        bridge().service("send", str(destination), message)
    else:
        raise TypeError(f"expected an erlang.Pid or a name, got {destination!r}")


def read_line() -> str:
    """A line of the input of whoever made the request; empty at its end."""
    line: str = bridge().service("read_line")
    return line


def _target(function: Any) -> Any:
    if isinstance(function, str):
        return str(function)
    if isinstance(function, Callable):
        return function
    raise TypeError(f"expected the name of a registered function, got {function!r}")


# Registered functions that were asked for, so that `erlang.NAME(...)` asks only once.
known: "set[str]" = set()


class Function:
    """A registered function, as ``erlang.NAME`` gives it."""

    __slots__ = ("__name__",)

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        try:
            return bridge().call(self.__name__, args, kwargs)
        except UnknownFunction:
            known.discard(self.__name__)
            raise

    def __repr__(self) -> str:
        return f"<erlang function {self.__name__}>"
