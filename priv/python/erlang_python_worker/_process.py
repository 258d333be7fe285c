"""The process around the worker: signals, group, standard streams, forked children."""

import io
import os
import signal
import sys
from typing import Any, Callable, NoReturn

import erlang._child
import erlang._request
import erlang._span
from erlang._child import Given


def adopt() -> None:
    """Undo what the BEAM's children inherit, and lead a group of our own."""
    try:
        os.setpgid(0, 0)
    except OSError:  # the leader of a session can't
        pass
    # The BEAM ignores SIGCHLD, and subprocess can't wait for its children then. SIGPIPE
    # stays ignored, as in every Python: a closed pipe is a BrokenPipeError.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _let_the_beam_finish()


def _let_the_beam_finish() -> None:
    """Have Linux not interrupt the BEAM, on a full machine, each time it gives us something to do.

    A worker with many requests then finds several at once, and so does the BEAM with results. Of
    SCHED_BATCH nothing else is different; a policy that somebody has chosen stays.
    """
    if not hasattr(os, "SCHED_BATCH"):
        return
    try:
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:  # a sandbox may forbid to ask, musl can't
        pass


_NO_INPUT = (
    "a worker of erlang_python has no standard input: pass arguments instead, "
    "or give the pool stdin: :caller"
)


class _Input(io.TextIOBase):
    """stdin for user code."""

    _no_bytes = "sys.stdin in a worker of erlang_python gives text alone: read that, and encode it"

    encoding = "utf-8"
    errors = "strict"

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 0  # an empty file by then, so that programs started here read nothing

    @property
    def buffer(self) -> NoReturn:
        # So that `hasattr` and `getattr` with a default tell that there is none.
        raise AttributeError(self._no_bytes)


class _NoInput(_Input):
    """Says why there is nothing to read."""

    _no_bytes = _NO_INPUT

    def _refuse(self, *_args: Any) -> NoReturn:
        raise EOFError(_NO_INPUT)

    read = readline = readlines = __next__ = _refuse


class CallerInput(_Input):
    """Asks whoever made the request.

    Args:
        read_line: gives the next line, empty at the end.
    """

    input_rest = ""

    def __init__(self, read_line: "Callable[[], str]") -> None:
        self._read_line = read_line

    def readline(self, size: "int | None" = -1) -> str:  # type: ignore[override]
        if size == 0:
            return ""
        # Each request reads from its own caller, and what it has not taken ends with it.
        reader: Any = erlang._request._current() or self
        line: str = reader.input_rest or self._read_line()
        end = len(line) if size is None or size < 0 else size
        reader.input_rest = line[end:]
        return line[:end]

    def read(self, size: "int | None" = -1) -> str:
        if size is None or size < 0:
            return "".join(self.readlines())
        parts, left = [], size
        while left > 0:
            part = self.readline(left)
            if not part:
                break
            parts.append(part)
            left -= len(part)
        return "".join(parts)


def prepare_streams() -> None:
    """Prints come out line by line, whatever stdout is; input() fails at once."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    sys.stdin = sys.__stdin__ = _NoInput()  # type: ignore[misc,assignment]


def from_signal_handler(error: BaseException) -> bool:
    """Was it raised in a function that takes a signal?"""
    handlers = map(signal.getsignal, signal.valid_signals())
    codes = {getattr(handler, "__code__", None) for handler in handlers}
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code not in codes:
        frame = frame.tb_next
    return frame is not None


class Forks:
    """Keeps forked children off what belongs to the worker.

    A child has our memory but none of our threads, and our sockets' descriptors: it must
    neither send nor receive, and when its code ends, the child ends. To call Elixir it makes
    connections of its own (`_child_bridge.py`).

    Args:
        watched: a descriptor that the child is to close.
        given: what it gets for that.
    """

    def __init__(self, watched: int, given: "Callable[[], Given]") -> None:
        self.is_child = False
        self._watched = watched
        self._given = given
        os.register_at_fork(after_in_child=self._in_child)

    def _in_child(self) -> None:
        if self.is_child:
            return
        self.is_child = True
        erlang._child.forked = self._given()
        # As in any process that is no worker.
        erlang._request._current = erlang._request._none
        erlang._span._tracer = None
        os.close(self._watched)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def leave(self, error: "BaseException | None") -> NoReturn:
        """End a child whose code came back to the worker, as Python ends a script.

        Without atexit and destructors: they belong to the worker.
        """
        status = 0
        try:
            if isinstance(error, SystemExit):
                status = _status(error)
            elif error is not None:
                status = 1
                sys.excepthook(type(error), error, error.__traceback__)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _status(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)
    return 1
