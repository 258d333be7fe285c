"""What `erlang.call` and its kin do in a worker: the right line, the right message."""

import functools
import os
import sys
import threading
import weakref
from collections import deque
from contextvars import copy_context
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Callable, Optional, Tuple

from msgpack import packb

import erlang
from erlang._request import Running
from erlang_python_worker import _protocol as wire
from erlang_python_worker._calling import Calling, in_context
from erlang_python_worker._channel import Channel
from erlang_python_worker._event_loops import EventLoops
from erlang_python_worker._import_hooks import when_imported
from erlang_python_worker._main_line import MainLine
from erlang_python_worker._protocol import HEAD_SIZE
from erlang_python_worker._requests import INHERITED, Requests, Shared, forget_request
from erlang_python_worker._thread_line import ThreadLine
from erlang_python_worker._tracing import SPAN, Tracing, current_span, forget_span

if TYPE_CHECKING:
    from erlang_python_worker._loop_lines import LoopLine


_LOG = bytes((wire.LOG,))


class Bridge(Calling):
    """That of a worker.

    Args:
        main: the main thread's line.
        channel: its channel.
        open_line: makes one for the calling thread.
        loops: those of event loops.
    """

    def __init__(
        self,
        main: MainLine,
        channel: Channel,
        open_line: "Callable[[], ThreadLine]",
        loops: EventLoops,
        requests: Requests,
        tracing: Tracing,
    ) -> None:
        self._main = main
        self._channel = channel
        self._main_thread = threading.get_ident()
        self._open_line = open_line
        self._loops = loops
        self._requests = requests
        self._tracing = tracing
        self._threads = threading.local()
        self._lines: "weakref.WeakSet[ThreadLine]" = weakref.WeakSet()
        self._adding = threading.RLock()  # a destructor may come again

    async def acall(self, function: Any, args: "tuple[Any, ...]", kwargs: "dict[str, Any]") -> Any:
        body = self._callback(function, args, kwargs)
        run = self._requests.current()
        if run is not None and run.namespace is not None:
            body = in_context(body, run.namespace.context)
        return await self._loop_line().call(wire.CALLBACK, body)

    def log(self, body: "list[Any]") -> bool:
        run = self._requests.current()
        key = bytes(8) if run is None else run.key
        message = _LOG + key + packb(body, unicode_errors="backslashreplace")
        armed = self._requests.shield()
        try:
            self._channel.post(message)
        except OSError:
            return False
        finally:
            self._requests.expose(armed)
        return True

    def _callback(
        self, function: Any, args: "tuple[Any, ...]", kwargs: "dict[str, Any]"
    ) -> "list[Any]":
        body = super()._callback(function, args, kwargs)
        trace = self._tracing.carried(self._requests.current())
        if trace is not None:
            body.append(trace)
        return body

    def _parent(self) -> int:
        run = self._requests.current()
        return 0 if run is None else run.id

    def _loop_line(self) -> "LoopLine":
        return self._loops.line()

    def line(self) -> "MainLine | ThreadLine":
        if threading.get_ident() == self._main_thread:
            return self._main
        return self.thread_line()

    def thread_line(self) -> ThreadLine:
        closer: "Optional[_Closer]" = getattr(self._threads, "closer", None)
        return self.adopt(self.open()) if closer is None else closer.line

    def open(self) -> ThreadLine:
        """A line that no thread has yet."""
        line = self._open_line()
        with self._adding:
            self._lines.add(line)
        return line

    def adopt(self, line: ThreadLine) -> ThreadLine:
        """It is the calling thread's from now on, and ends with it."""
        self._threads.closer = _Closer(line)
        self._loops.adopt(line)
        return line

    def end(self) -> None:
        """Close the lines of all threads, each as soon as it is not used."""
        _say_nothing_of_interrupted_threads()
        with self._adding:
            lines = list(self._lines)
        for line in lines:
            line.close()


def _say_nothing_of_interrupted_threads() -> None:
    """Those that wait for the BEAM end with `Interrupted`, and that is how it is to be.

    And a daemon thread that Python ends while it writes a traceback keeps the lock of stderr, for
    which Python aborts.
    """
    tell = threading.excepthook

    def hook(args: "threading.ExceptHookArgs") -> None:
        if not issubclass(args.exc_type, erlang.Interrupted):
            tell(args)

    threading.excepthook = hook


class _Closer:
    """Closes a thread's line when the thread ends, which is when its locals go."""

    def __init__(self, line: ThreadLine) -> None:
        self.line = line
        self._process = os.getpid()

    def __del__(self) -> None:
        # In its thread; in another at the end of Python and in a forked child, where
        # threads have gone with their locks.
        if os.getpid() == self._process:
            self.line.close()


# What a thread is to serve, and whether it came on the main channel.
Inbox = SimpleQueue[Tuple[bytes, "list[Any]", bool]]

# How many threads that have nothing to do are kept for the next request.
_KEPT = 4


class SpareThreads:
    """Threads for requests that can't wait for the main thread.

    Args:
        refuse: sends the end of a request for which there is no thread.
    """

    def __init__(self, bridge: Bridge, refuse: "Callable[[Running, Exception], None]") -> None:
        self._bridge = bridge
        self._refuse = refuse
        self._idle: "deque[Inbox]" = deque()

    def serve(self, head: bytes, channel: Channel) -> None:
        """One that came on the control channel."""
        self._take(head, channel.receive_buffers() if head[0] & wire.BUFFERS_FOLLOW else [], False)

    def take_over(self, head: bytes, buffers: "list[Any]") -> None:
        """One that came on the main channel."""
        self._take(head, buffers, True)

    def _take(self, head: bytes, buffers: "list[Any]", from_main: bool) -> None:
        """Serve it in a thread that has nothing else to do; from any thread."""
        try:
            inbox = self._idle.pop()
        except IndexError:
            try:
                inbox = self._start()
            except Exception as error:  # no descriptor, no thread
                self._refuse(Running(head[1:HEAD_SIZE]), error)
                return
        inbox.put((head, buffers, from_main))

    def _start(self) -> "Inbox":
        line = self._bridge.open()
        inbox: Inbox = SimpleQueue()
        try:
            Shared(
                target=self._run, args=(inbox, line), name="erlang_python spare", daemon=True
            ).start()
        except RuntimeError:
            line.close()
            raise
        return inbox

    def _run(self, inbox: "Inbox", line: ThreadLine) -> None:
        self._bridge.adopt(line)
        while True:
            line.serve(*inbox.get())
            if len(self._idle) >= _KEPT:
                return
            self._idle.append(inbox)


def inherit_requests(requests: Requests) -> None:
    """Let each thread know the request of whoever started it, or submitted what it runs."""
    when_imported("concurrent.futures.thread", lambda module: _inherit(module, requests))
    start = threading.Thread.start

    def start_inheriting(self: threading.Thread) -> None:
        if isinstance(self, Shared) or _is_of_executor(self):
            # Others wait for what it runs. A free-threaded Python gives it the context variables of
            # whoever starts it.
            if getattr(sys.flags, "thread_inherit_context", False):
                self._context = copy_context()  # type: ignore[attr-defined]
                self._context.run(_belong_to_nobody)  # type: ignore[attr-defined]
        else:
            setattr(self, INHERITED, requests.current())
            span = current_span()
            if span is not None:
                setattr(self, SPAN, span)
        start(self)

    start_inheriting.__doc__ = start.__doc__
    start_inheriting.__name__ = start.__name__
    start_inheriting.__qualname__ = start.__qualname__
    threading.Thread.start = start_inheriting  # type: ignore[method-assign]


def _belong_to_nobody() -> None:
    forget_request()
    forget_span()


# A thread of an executor outlives the request that started it, and others wait for what it runs.
def _is_of_executor(thread: threading.Thread) -> bool:
    target = getattr(thread, "_target", None)
    return getattr(target, "__module__", None) == "concurrent.futures.thread"


def _inherit(executors: Any, requests: Requests) -> None:
    submit = executors.ThreadPoolExecutor.submit

    @functools.wraps(submit)
    def submit_inheriting(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        # That of Python 3.14 gives what it runs to another interpreter, pickled.
        if any(base.__name__ == "InterpreterPoolExecutor" for base in type(self).__mro__):
            return submit(self, fn, *args, **kwargs)
        inherited = {INHERITED: requests.current(), SPAN: current_span()}
        return submit(self, _run_for, inherited, fn, args, kwargs)

    executors.ThreadPoolExecutor.submit = submit_inheriting


def _run_for(inherited: "dict[str, Any]", fn: Any, args: Any, kwargs: Any) -> Any:
    thread = threading.current_thread()
    before = {name: getattr(thread, name, None) for name in inherited}
    vars(thread).update(inherited)
    try:
        return fn(*args, **kwargs)
    finally:
        vars(thread).update(before)
