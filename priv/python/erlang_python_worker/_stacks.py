"""Where each thread is: docs/protocol.md, `STACKS`."""

import os
import sys
import threading
import traceback
from itertools import dropwhile
from typing import Any

from erlang_python_worker._errors import clean, shown_frames

# What stands under all code of a thread.
_PRIV = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
_BOOTSTRAP = os.path.join(_PRIV, "programs", "bootstrap.py")
_STARTERS = (_BOOTSTRAP, threading.__file__)


def stacks() -> "list[list[Any]]":
    """All threads but the calling one, the main thread first."""
    own, main = threading.get_ident(), threading.main_thread().ident
    names = {thread.ident: clean(thread.name) for thread in threading.enumerate()}
    frames = sys._current_frames()
    order = sorted(frames, key=lambda ident: (ident != main, ident))
    return [
        [ident, names.get(ident), ident == main, _stack(frames[ident])]
        for ident in order
        if ident != own
    ]


def _stack(frame: Any) -> "list[list[Any]]":
    try:
        stack = traceback.StackSummary.extract(traceback.walk_stack(frame))
    except Exception:  # a loader of the user's that is asked for the source
        walk = [(f.f_code, line) for f, line in traceback.walk_stack(frame)]
        without_code = [(code.co_filename, line, code.co_name, "") for code, line in walk]
        stack = traceback.StackSummary.from_list(without_code)
    stack.reverse()  # the outermost first, as tracebacks have it
    frames = dropwhile(lambda frame: frame.filename in _STARTERS, stack)
    return shown_frames(traceback.StackSummary.from_list(frames))
