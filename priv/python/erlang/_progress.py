"""How far long work has come."""

import operator
import sys
from contextlib import suppress
from time import monotonic
from typing import Any, Optional

from erlang import _calls, _request
from erlang._atom import Atom

# Reports that come faster are left out, but for the first and the last.
_INTERVAL_S = 0.05
_WIDTH = 30
_CLEAR_TO_END = "\x1b[K"  # ECMA-48, "EL"

# Set by the worker: may bars be drawn where prints go?
bars = False


def progress(done: "int | float", total: "int | float | None" = None, text: str = "", /) -> None:
    """Tell the caller of the running request how far it has come.

    A request that was made with ``progress:`` sends it there. Otherwise a bar is drawn where prints
    go, if that is a terminal. At most 20 reports a second get through, the last one always.
    Outside a request it does nothing.

    Args:
        done: how much is done, in any unit.
        total: how much there is to do; the report with ``done`` at ``total`` is the last.
        text: what is being done.

    Raises:
        TypeError: one of them is of another type.
    """
    done = _number("done must be a number", done)
    if total is not None:
        total = _number("total must be a number or None", total)
    if not isinstance(text, str):
        raise TypeError(f"text must be str, not {type(text).__name__}")
    run = _request._current()
    if run is None or run.ended:
        return
    last = total is not None and done >= total
    now = monotonic()
    if not last and now - run.progressed < _INTERVAL_S:
        return
    run.progressed = now
    if run.progress is not None:
        _calls.bridge().send(run.progress, message(done, total, text))
    elif bars:
        run.bar_open = not last
        sys.stderr.write(f"\r{bar(done, total, text)}{_CLEAR_TO_END}" + "\n" * last)
        sys.stderr.flush()


def _number(expected: str, value: Any) -> "int | float":
    if isinstance(value, (int, float)):
        return value
    # Counts are often scalars of NumPy's.
    if hasattr(value, "__index__"):
        return operator.index(value)
    if hasattr(value, "__float__"):
        with suppress(TypeError):  # of complex numbers, before Python 3.10
            return float(value)
    raise TypeError(f"{expected}, not {type(value).__name__}")


def message(done: Any, total: Any, text: str) -> "tuple[Any, ...]":
    report = {Atom("done"): done, Atom("total"): total, Atom("text"): text}
    return (Atom("python_progress"), report)


def bar(done: Any, total: Optional[Any], text: str) -> str:
    if not total:
        return f"{done} {text}".rstrip()
    share = min(max(done / total, 0.0), 1.0)
    full = round(share * _WIDTH)
    return f"[{'=' * full}{' ' * (_WIDTH - full)}] {share:4.0%} {text}".rstrip()
