"""Which requests run, and how they are stopped.

Theory of operation. The main thread runs one request at a time, and while that waits in a
callback, requests nested in it: a stack. Others run beside it, in threads of their own and on
event loops.

The control thread decides who stops (`cancel`). For a request of the main thread a SIGINT
carries it out, because only a signal ends a sleep, a read or a lock there. The handler raises
`Interrupted`, and only in the code of the request on top of the stack:

* `armed` is true from just before the request's code to just after it. Outside, a signal
  does nothing to a request. Nor does it where the worker sends or receives in the middle of
  the code, for a callback, a print, a record, a span or a coroutine: there `armed` is false
  for a while.
* `wanted` is set for one request, so a signal that comes late finds nothing to do. One under others
  keeps the wish until it is on top again and waits (`check`).
* A signal that comes just before the main thread enters a blocking call does not end that
  call: Python runs the handler after it. So the control thread repeats the signal until it
  is no longer `signal_pending`.
* Between the lines of the functions that run the code (`guarded`), where `armed` is still
  true although the code has ended, one interrupt may be raised: the function around it
  catches that. A second one there is dropped: the code that it was meant for has ended.
* What has to be undone is undone: none is raised in the functions that do so (`whole`). The
  repeated signal finds what comes after them.
* One that is raised in a destructor ends that alone: Python drops it. It is raised again
  (`_on_dropped`).
* None is raised in a first import, but where that begins to wait in a callback, whose answer may
  never come. A package of which a part is loaded can't be imported again, which would spoil the
  worker for all later requests. The repeated signal finds the import's end.

The same signal ends the receive loop: it raises `Stop` where no request runs. That too may be
dropped, so it is repeated until the loop has ended.
"""

import _thread
import itertools
import signal
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Collection
from contextvars import ContextVar, Token
from mmap import mmap
from types import CodeType, FrameType
from typing import Any, Callable, Optional, TypeVar

import erlang
from erlang._request import Running

_DONE_KEPT = 1_024  # docs/protocol.md, `CANCEL_ACK`
_ID_SIZE = 8
_LAST_BEGUN = slice(0, _ID_SIZE)
_REVOKED_KEPT = 65_536
# Between two signals for an interrupt that was dropped.
_REPEAT_S = 0.01

# The request that a thread or a coroutine beside the main thread runs.
_beside: "ContextVar[Optional[Running]]" = ContextVar("erlang_python_request", default=None)


def forget_request() -> None:
    """What runs in this context from now on belongs to no request."""
    _beside.set(None)


class Stop(BaseException):
    """Raised in the receive loop when the worker is to end."""


_whole: "set[CodeType]" = set()
_Function = TypeVar("_Function", bound=Callable[..., Any])


def whole(function: _Function) -> _Function:
    """Let neither `Interrupted` nor `Stop` be raised between the lines of a function."""
    _whole.add(function.__code__)
    return function


class Dropped(OrderedDict[bytes, int]):
    """How many frames of each request are not to be run."""

    def add(self, request_id: bytes) -> None:
        self[request_id] = self.get(request_id, 0) + 1
        if len(self) > _REVOKED_KEPT:
            self.popitem(last=False)

    def drop(self, request_id: bytes) -> bool:
        left = self.pop(request_id, 0)
        if left > 1:
            self[request_id] = left - 1
        return left > 0


class Requests:
    def __init__(self, begun: "mmap | bytearray") -> None:
        # docs/protocol.md, "What had begun": the last id, then a ring of the last ids.
        self._begun = begun
        self._begun_ring = itertools.cycle(
            [slice(at, at + _ID_SIZE) for at in range(_ID_SIZE, len(begun), _ID_SIZE)]
        )
        # Of the main thread; those under the top wait in callbacks.
        self._top: "Optional[Running]" = None
        self._under: "list[Running]" = []
        self._others: "dict[bytes, Running]" = {}
        self.armed = False
        # Is the receive loop there, to be ended by `Stop`?
        self.receiving = False
        self.stopping = False
        self.stopped = False
        self.guarded: "Collection[CodeType]" = ()
        # Frames that are to be dropped. Of the main channel: the BEAM may have sent the request
        # again already, on the control channel even to this worker.
        self._recalled = Dropped()
        # Of any channel: nobody waits for the request.
        self._revoked = Dropped()
        # Of the control channel: the main thread had begun what should have moved off it.
        self._unmoved = Dropped()
        self._done: "deque[bytes]" = deque(maxlen=_DONE_KEPT)
        self._lock = threading.Lock()
        self._main = threading.main_thread().ident or 0

    def install(self) -> None:
        """Take SIGINT over, and what Python drops. Main thread only."""
        signal.signal(signal.SIGINT, self._on_signal)
        self._report = sys.unraisablehook
        sys.unraisablehook = self._on_dropped

    # Main thread

    @whole
    def begin(self, request_id: bytes) -> "Optional[Running]":
        """The request if it is to run: not if it was revoked before it came."""
        run = Running(request_id)
        lock = self._lock
        lock.acquire()  # `with` takes twice as long
        try:
            if self._recalled and self._recalled.drop(request_id):
                return None
            if self._revoked and self._revoked.drop(request_id):
                return None
            self._top = run
        finally:
            lock.release()
        self._begun[_LAST_BEGUN] = self._begun[next(self._begun_ring)] = request_id
        return run

    def end(self) -> None:
        # In this order and without the lock: who cancels in between may say "running" of a
        # request whose end has just been sent, but never "revoked".
        top = self._top
        assert top is not None
        if not top.detached:
            self._done.append(top.key)
        self._top = None

    def begin_nested(self, request_id: bytes) -> "Optional[Running]":
        """As `begin`, for a request of the callback in which the one on top waits."""
        run = Running(request_id)
        with self._lock:
            if self._revoked and self._revoked.drop(request_id):
                return None
            if self._top is not None:
                run.namespace = self._top.namespace
                self._under.append(self._top)
            self._top = run
        return run

    def end_nested(self) -> None:
        top = self._top
        assert top is not None
        with self._lock:
            if not top.detached:
                self._done.append(top.key)
            self._top = self._under.pop() if self._under else None

    @property
    def nested(self) -> bool:
        """Does the main thread run a request within another?"""
        return bool(self._under)

    @property
    def interrupted(self) -> bool:
        """Was the request on top interrupted?"""
        return self._top is not None and self._top.interrupted

    def shield(self) -> bool:
        """No interrupt from here on, as far as this thread is the main one, until `expose`."""
        if threading.get_ident() != self._main:
            return False
        armed, self.armed = self.armed, False
        return armed

    def expose(self, armed: bool) -> None:
        """Takes what `shield` gave. Raises `Interrupted` if that was wanted meanwhile."""
        if armed:
            self.armed = True
            top = self._top
            if top is not None and top.wanted and not _is_import(sys._getframe(1)):
                self.check()

    def check(self) -> None:
        """Raise `Interrupted` if the request on top, in whose code this is called, is to stop."""
        top = self._top
        if top is not None and top.wanted:
            top.wanted = False
            top.interrupted = True
            raise erlang.Interrupted

    def _on_signal(self, _number: int, frame: "FrameType | None") -> None:
        top = self._top
        code = None if frame is None else frame.f_code
        if code in _whole:
            return
        if top is None:
            if self.stopping and self.receiving and not self.stopped:
                raise Stop
            return
        if not (self.armed and top.wanted):
            return
        if code is _ON_DROPPED or (top.interrupted and code in self.guarded):
            return
        if _is_import(frame):
            return
        top.wanted = False
        top.interrupted = True
        raise erlang.Interrupted

    def _on_dropped(self, dropped: "sys.UnraisableHookArgs") -> None:
        """Interrupt once more, if an interrupt has only ended a destructor, or the like."""
        top = self._top
        ours = isinstance(dropped.exc_value, erlang.Interrupted)
        if not ours or top is None or not top.interrupted or threading.get_ident() != self._main:
            self._report(dropped)
            return
        armed, self.armed = self.armed, False  # in here it would be dropped again
        top.interrupted = False
        top.wanted = True
        # Not a Thread: destructors run while threading's own locks are held.
        _thread.start_new_thread(self._repeat, (top,))
        self.armed = armed

    # The control thread, which repeats signals otherwise, may wait for a message by now.
    def _repeat(self, run: Running) -> None:
        while run.wanted and self._top is run:
            time.sleep(_REPEAT_S)  # the code around the destructor comes on meanwhile
            self.repeat_signal()

    # Threads and event loops beside the main thread

    def begin_beside(
        self,
        request_id: bytes,
        stop: "Optional[Callable[[], None]]" = None,
        from_main: bool = False,
    ) -> "Optional[Running]":
        """A request that does not run in the main thread; `None` if it was revoked before it came.

        Args:
            stop: called from the control thread when the request is to stop, if it can.
            from_main: whether its frame came on the main channel.
        """
        run = Running(request_id, stop)
        with self._lock:
            if from_main:
                if self._recalled and self._recalled.drop(request_id):
                    return None
            elif self._unmoved and self._unmoved.drop(request_id):
                return None
            if self._revoked and self._revoked.drop(request_id):
                return None
            self._others[request_id] = run
        return run

    def end_beside(self, run: Running) -> None:
        if not run.detached:
            self.finish(run)

    def detach(self) -> Running:
        """The request of this thread goes on elsewhere; `finish` is called when it has ended."""
        run = self.current()
        assert run is not None
        with self._lock:
            run.detached = True
            self._others[run.key] = run
        return run

    def finish(self, run: Running) -> None:
        with self._lock:
            self._others.pop(run.key, None)
            self._done.append(run.key)

    @staticmethod
    def enter(run: Running) -> "Token[Optional[Running]]":
        """This thread, or this task, works for that request now; gives what `leave` takes."""
        return _beside.set(run)

    @staticmethod
    def leave(before: "Token[Optional[Running]]") -> None:
        _beside.reset(before)

    # Any thread

    def current(self) -> "Optional[Running]":
        """The request on whose behalf the calling code runs, as far as that is known."""
        run = _beside.get()
        if run is not None:
            return run.pull or run
        ident = threading.get_ident()
        if ident == self._main:
            return self._top
        # `current_thread` would make an entry for a thread of C code's, and keep it.
        return getattr(threading._active.get(ident), INHERITED, None)  # type: ignore[attr-defined]

    @whole
    def outer(self) -> "Optional[Running]":
        """What the main thread runs when the request of the calling code has ended."""
        if threading.get_ident() != self._main:
            return self._top
        return self._under[-1] if self._under else None

    @property
    def running(self) -> int:
        """The number of the request that the main thread runs, 0 if it runs none."""
        top = self._top
        return 0 if top is None else top.id

    def cancel(self, request_id: bytes, interrupt: bool) -> str:
        """Stop a request; says where it was: ``revoked``, ``running`` or ``done``."""
        with self._lock:
            run = self._find(request_id)
            if run is None:
                if request_id in self._done:
                    return "done"
                # One that is to stop may be on its way on any channel.
                (self._revoked if interrupt else self._recalled).add(request_id)
                return "revoked"
            # Asked only whether it has begun.
            if not interrupt:
                return "running"
            run.cancelled = True
            interruptible = request_id not in self._others
            run.wanted = interruptible
        if interruptible and run is self._top:
            self._signal()
        elif run.stop is not None:
            run.stop()
        return "running"

    def move(self, request_id: bytes) -> None:
        """Run a request that the main thread has not begun beside it, when it comes again."""
        with self._lock:
            begun = self._find(request_id) is not None or request_id in self._done
            (self._unmoved if begun else self._recalled).add(request_id)

    def _find(self, request_id: bytes) -> "Optional[Running]":
        if self._others and request_id in self._others:
            return self._others[request_id]
        top = self._top
        if top is not None and top.key == request_id:
            return top
        for run in self._under:
            if run.key == request_id:
                return run
        return None

    def stop(self, interrupt: bool = False) -> None:
        """End the receive loop, after the request that runs."""
        with self._lock:
            self.stopping = True
            if interrupt:
                for run in (self._top, *self._under):
                    if run is not None:
                        run.wanted = True
        self._signal()

    def signal_pending(self) -> bool:
        """Has the main thread still to act on a signal?"""
        top = self._top
        if top is not None:  # at its end the receive loop sees `stopping` by itself
            return top.wanted
        return self.stopping and not self.stopped

    def repeat_signal(self) -> None:
        with self._lock:
            pending = self.signal_pending()
        if pending:
            self._signal()

    def _signal(self) -> None:
        signal.pthread_kill(self._main, signal.SIGINT)


# Python's own, in which a module is loaded for the first time; a reload is not in it.
_IMPORT = ("<frozen importlib._bootstrap>", "_find_and_load")


def _is_import(frame: "Optional[FrameType]") -> bool:
    while frame is not None:
        if (frame.f_code.co_filename, frame.f_code.co_name) == _IMPORT:
            return True
        frame = frame.f_back
    return False


_ON_DROPPED = Requests._on_dropped.__code__

# The attribute of a thread that holds the request of whoever started it.
INHERITED = "_erlang_python_request"


class Shared(threading.Thread):
    """A thread that works for many requests: whoever has started it leaves nothing with it."""
