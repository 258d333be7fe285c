"""What `erlang.call` and its kin do in a worker: the right line, the right message."""

import threading
import weakref
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Callable, Optional

import erlang
from erlang_python_worker import _protocol as wire
from erlang_python_worker._channel import Channel
from erlang_python_worker._event_loops import EventLoops
from erlang_python_worker._lines import BlockingLine, Message, ThreadLine, left_behind
from erlang_python_worker._process import Forks
from erlang_python_worker._requests import INHERITED, Requests

if TYPE_CHECKING:
    from erlang_python_worker._loop_lines import LoopLine


class Bridge:
    """See `erlang._calls`.

    Args:
        main: the main thread's line.
        open_line: makes one for the calling thread.
        loops: those of event loops.
    """

    def __init__(
        self,
        main: BlockingLine,
        open_line: "Callable[[], ThreadLine]",
        loops: EventLoops,
        requests: Requests,
        forks: Forks,
    ) -> None:
        self._main = main
        self._main_thread = threading.get_ident()
        self._open_line = open_line
        self._loops = loops
        self._requests = requests
        self._forks = forks
        self._threads = threading.local()
        self._lines: "weakref.WeakSet[ThreadLine]" = weakref.WeakSet()

    def call(self, function: Any, args: "tuple[Any, ...]", kwargs: "dict[str, Any]") -> Any:
        return self.line().call(
            wire.CALLBACK, [self._parent(), function, list(args), kwargs or None]
        )

    async def acall(self, function: Any, args: "tuple[Any, ...]", kwargs: "dict[str, Any]") -> Any:
        body = [self._parent(), function, list(args), kwargs or None]
        return await self._loop_line().call(wire.CALLBACK, body)

    async def aservice(self, name: str, *args: Any) -> Any:
        return await self._loop_line().call(wire.SERVICE, [self._parent(), name, list(args)])

    def cast(self, function: Any, args: "tuple[Any, ...]", kwargs: "dict[str, Any]") -> None:
        self.line().tell(wire.CAST, [self._parent(), function, list(args), kwargs or None])

    def service(self, name: str, *args: Any) -> Any:
        return self.line().call(wire.SERVICE, [self._parent(), name, list(args)])

    def send(self, pid: erlang.Pid, message: Any) -> None:
        self.line().tell(wire.SEND, [pid, message])

    def send_later(self, pid: erlang.Pid, message: Any) -> None:
        left_behind.append((pid, message))

    def _parent(self) -> int:
        run = self._requests.current()
        return 0 if run is None else run.id

    def _loop_line(self) -> "LoopLine":
        self._check_process()
        return self._loops.line()

    def _check_process(self) -> None:
        if self._forks.is_child:
            raise RuntimeError("a forked process has no Elixir to call: call it from its parent")

    def line(self) -> BlockingLine:
        self._check_process()
        if threading.get_ident() == self._main_thread:
            return self._main
        return self.thread_line()

    def thread_line(self) -> ThreadLine:
        closer: "Optional[_Closer]" = getattr(self._threads, "closer", None)
        if closer is None:
            closer = self._threads.closer = _Closer(self._open_line())
            self._lines.add(closer.line)
        return closer.line

    def end(self) -> None:
        """Close the lines of threads that don't use theirs."""
        for line in list(self._lines):
            line.close_if_idle()


class _Closer:
    """Closes a thread's line when the thread ends, which is when its locals go."""

    def __init__(self, line: ThreadLine) -> None:
        self.line = line

    def __del__(self) -> None:
        self.line.close()


# How many threads that have nothing to do are kept for the next request.
_KEPT = 4


class SpareThreads:
    """Threads for requests that can't wait for the main thread."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._idle: "deque[SimpleQueue[Message]]" = deque()

    def serve(self, head: bytes, channel: Channel) -> None:
        buffers = channel.receive_buffers() if head[0] & wire.BUFFERS_FOLLOW else []
        try:
            inbox = self._idle.pop()
        except IndexError:
            inbox = SimpleQueue()
            threading.Thread(
                target=self._run, args=(inbox,), name="erlang_python spare", daemon=True
            ).start()
        inbox.put((head, buffers))

    def _run(self, inbox: "SimpleQueue[Message]") -> None:
        line = self._bridge.thread_line()
        while True:
            line.serve(*inbox.get())
            if len(self._idle) >= _KEPT:
                return
            self._idle.append(inbox)


def inherit_requests(requests: Requests) -> None:
    """Let each thread know the request of whoever started it."""
    start = threading.Thread.start

    def start_inheriting(self: threading.Thread) -> None:
        setattr(self, INHERITED, requests.current())
        start(self)

    start_inheriting.__doc__ = start.__doc__
    start_inheriting.__name__ = start.__name__
    start_inheriting.__qualname__ = start.__qualname__
    threading.Thread.start = start_inheriting  # type: ignore[method-assign]
