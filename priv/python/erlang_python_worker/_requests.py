"""Which request runs, and how it is stopped.

Theory of operation. The control thread decides (`cancel`); a SIGINT to the main thread
carries it out, because only a signal ends a sleep, a read or a lock in the main thread. The
handler raises `Interrupted`, and only while the code of that very request runs:

* `armed` is true from just before the request's code to just after it. Outside, a signal
  does nothing, so the receive loop can't be hit.
* `_wanted` is set for the request that runs and is cleared when another begins, so a signal
  that comes late finds nothing to do.
* A signal that comes just before the main thread enters a blocking call does not end that
  call: Python runs the handler after it. So the control thread repeats the signal until it
  is no longer `signal_pending`.
* Between the lines of the function that runs the code (`guarded`), where `armed` is still
  true although the code has ended, one interrupt may be raised: the function around it
  catches that. A second one there is dropped: the code that it was meant for has ended.
"""

import signal
import threading
from collections import OrderedDict, deque
from collections.abc import Collection
from mmap import mmap
from types import CodeType, FrameType

import erlang

_DONE_KEPT = 1_024  # docs/protocol.md, `CANCEL_ACK`
_ID_SIZE = 8
_REVOKED_KEPT = 65_536


class Stop(BaseException):
    """Raised in the receive loop when the worker is to end."""


class Requests:
    def __init__(self, begun: "mmap | bytearray") -> None:
        # docs/protocol.md, "What had begun": the last id, then a ring of the last ids.
        self._begun = begun
        self._begun_at = _ID_SIZE
        # Ids as they are on the wire; none runs while this is empty.
        self._running = b""
        self.armed = False
        self.interrupted = False
        self.stopping = False
        self.stopped = False
        self.guarded: "Collection[CodeType]" = ()
        self._cancelled = False
        self._wanted = False
        # How many frames of a request are to be dropped: the BEAM may have sent it again already.
        self._revoked: "OrderedDict[bytes, int]" = OrderedDict()
        self._done: "deque[bytes]" = deque(maxlen=_DONE_KEPT)
        self._lock = threading.Lock()
        self._main = threading.main_thread().ident or 0

    def install(self) -> None:
        """Take SIGINT over. Main thread only."""
        signal.signal(signal.SIGINT, self._on_signal)

    # Main thread

    def begin(self, request_id: bytes) -> bool:
        """Is the request to run? Not if it was revoked before it came."""
        with self._lock:
            if self._revoked and request_id in self._revoked:
                self._drop(request_id)
                return False
            self._cancelled = self._wanted = self.interrupted = False
            self._running = request_id
            self._note(request_id)
        return True

    def _note(self, request_id: bytes) -> None:
        at = self._begun_at
        self._begun[:_ID_SIZE] = self._begun[at : at + _ID_SIZE] = request_id
        at += _ID_SIZE
        self._begun_at = at if at < len(self._begun) else _ID_SIZE

    def _drop(self, request_id: bytes) -> None:
        left = self._revoked.pop(request_id) - 1
        if left:
            self._revoked[request_id] = left

    def end(self) -> None:
        # In this order and without the lock: who cancels in between may say "running" of a
        # request whose end has just been sent, but never "revoked".
        self._done.append(self._running)
        self._running = b""
        self._wanted = False

    def _on_signal(self, _number: int, frame: "FrameType | None") -> None:
        if self.stopping and not self._running and not self.stopped:
            self.stopped = True
            raise Stop
        if not (self.armed and self._wanted):
            return
        if self.interrupted and frame is not None and frame.f_code in self.guarded:
            return
        self._wanted = False
        self.interrupted = True
        raise erlang.Interrupted

    # Any thread

    @property
    def running(self) -> int:
        """The number of the request that runs, 0 if none does."""
        return int.from_bytes(self._running, "big")

    def is_cancelled(self, request_id: int) -> bool:
        # Without the lock: the code that asks may be interrupted at any point, here too.
        return self._cancelled and self.running == request_id

    def cancel(self, request_id: bytes, interrupt: bool) -> str:
        """Stop a request; says where it was: ``revoked``, ``running`` or ``done``."""
        with self._lock:
            if request_id == self._running:
                self._cancelled = True
                self._wanted = self._wanted or interrupt
            elif request_id in self._done:
                return "done"
            else:
                self._revoked[request_id] = self._revoked.get(request_id, 0) + 1
                if len(self._revoked) > _REVOKED_KEPT:
                    self._revoked.popitem(last=False)
                return "revoked"
        if interrupt:
            self._signal()
        return "running"

    def stop(self, interrupt: bool = False) -> None:
        """End the receive loop, after the request that runs."""
        with self._lock:
            self.stopping = True
            self._wanted = self._wanted or interrupt
        self._signal()

    def signal_pending(self) -> bool:
        """Has the main thread still to act on a signal?"""
        if self._running:  # at its end the receive loop sees `stopping` by itself
            return self._wanted
        return self.stopping and not self.stopped

    def repeat_signal(self) -> None:
        with self._lock:
            pending = self.signal_pending()
        if pending:
            self._signal()

    def _signal(self) -> None:
        signal.pthread_kill(self._main, signal.SIGINT)
