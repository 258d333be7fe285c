"""The end of stdin means that the BEAM is gone: no worker outlives it."""

import fcntl
import os
import signal
import threading
import time
from typing import Callable

# From the orderly end to the hard one, in seconds: a second in all is promised.
_GRACE = 0.5


def watch(stop: "Callable[[], None]") -> int:
    """Watch stdin and give the rest of the process an empty one.

    Args:
        stop: asks the main thread to end.

    Returns:
        the descriptor that is watched; forked children close their copy.
    """
    pipe = os.dup(0)  # not inherited by programs that user code starts
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    _signal_at_end(pipe)
    threading.Thread(
        target=_wait, args=(pipe, stop), name="erlang_python parent", daemon=True
    ).start()
    return pipe


def _signal_at_end(pipe: int) -> None:
    """Let the kernel kill us: C code that holds the GIL keeps every thread of ours waiting.

    The signal goes to the process group, so the children go too. On Linux it is SIGKILL,
    which user code can't ignore and which ends stopped processes too; elsewhere SIGIO. Where
    none comes (it is the system's choice which files send it), the thread is left.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETOWN, -os.getpgrp() if _leads_group() else os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)


def _wait(pipe: int, stop: "Callable[[], None]") -> None:
    try:
        while os.read(pipe, 1):
            pass
    except OSError:  # the end of the BEAM, too
        pass
    end = time.monotonic() + _GRACE
    while time.monotonic() < end:
        stop()  # again and again: a signal can come just before a call that blocks
        time.sleep(_GRACE / 20)  # it is about to end: nothing else is left to wait for
    if _leads_group():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _leads_group() -> bool:
    return os.getpgrp() == os.getpid()
