"""What `erlang.call` and its kin send, in a worker and in its children."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Optional, Protocol

import erlang
from erlang_python_worker import _protocol as wire
from erlang_python_worker._lines import left_behind

if TYPE_CHECKING:
    from erlang_python_worker._loop_lines import LoopLine

# Elements of a callback that belongs to no trace.
_WITHOUT_TRACE = 4


class Blocking(Protocol):
    """The line of a thread, as far as its code uses it."""

    def call(self, kind: int, body: "list[Any]") -> Any: ...

    def tell(self, kind: int, body: "list[Any]") -> None: ...


class Calling(ABC):
    """See `erlang._calls`."""

    @abstractmethod
    def line(self) -> Blocking:
        """That of the calling thread."""

    @abstractmethod
    def _loop_line(self) -> "LoopLine":
        """That of the event loop that runs in the calling thread."""

    @abstractmethod
    def _parent(self) -> int:
        """The number of the request on whose behalf the code calls, 0 if that is nobody's."""

    @abstractmethod
    def log(self, body: "list[Any]") -> bool:
        """False if it can't be sent."""

    def call(self, function: Any, args: "tuple[Any, ...]", kwargs: "dict[str, Any]") -> Any:
        return self.line().call(wire.CALLBACK, self._callback(function, args, kwargs))

    async def acall(self, function: Any, args: "tuple[Any, ...]", kwargs: "dict[str, Any]") -> Any:
        return await self._loop_line().call(wire.CALLBACK, self._callback(function, args, kwargs))

    def cast(self, function: Any, args: "tuple[Any, ...]", kwargs: "dict[str, Any]") -> None:
        self.line().tell(wire.CAST, self._callback(function, args, kwargs))

    def service(self, name: str, *args: Any) -> Any:
        return self.line().call(wire.SERVICE, [self._parent(), name, list(args)])

    async def aservice(self, name: str, *args: Any) -> Any:
        return await self._loop_line().call(wire.SERVICE, [self._parent(), name, list(args)])

    def send(self, pid: erlang.Pid, message: Any) -> None:
        self.line().tell(wire.SEND, [pid, message])

    def send_later(self, pid: erlang.Pid, message: Any) -> None:
        left_behind.append((pid, message))

    def _callback(
        self, function: Any, args: "tuple[Any, ...]", kwargs: "dict[str, Any]"
    ) -> "list[Any]":
        return [self._parent(), function, list(args), kwargs or None]


def in_context(body: "list[Any]", context: "Optional[int]") -> "list[Any]":
    """A callback for which no thread waits that would know the context of what is nested in it."""
    if context is not None:
        if len(body) == _WITHOUT_TRACE:
            body.append(None)
        body.append(context)
    return body
