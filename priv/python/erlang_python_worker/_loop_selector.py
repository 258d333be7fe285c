"""What the worker's event loop waits with: it looks a little while before it sleeps."""

import asyncio
import selectors
from typing import Any, Callable, Optional

from erlang_python_worker._spin import Spin

# A timer that is due as soon as this, in seconds, is not worth a look.
_SOON_S = 0.001


class LookingSelector(selectors.DefaultSelector):
    """Where a callback's answer is awaited it follows soon: see `_spin.py`."""

    def __init__(self) -> None:
        super().__init__()
        # Is an answer on its way? Without a line there is none.
        self.awaited: "Callable[[], bool]" = bool
        self._found: "list[Any]" = []
        self._spin = Spin(self._poll)

    def select(self, timeout: "Optional[float]" = None) -> "list[Any]":
        if (timeout is None or timeout > _SOON_S) and self.awaited() and self._spin.look():
            return self._found
        return super().select(timeout)

    def _poll(self, _timeout_ms: int) -> bool:
        self._found = super().select(0)
        return bool(self._found)


def looking_loop(
    loop: asyncio.AbstractEventLoop,
) -> "tuple[asyncio.AbstractEventLoop, Optional[LookingSelector]]":
    """One that looks in place of a new one, where that is asyncio's own."""
    if type(loop) is not asyncio.SelectorEventLoop:
        return loop, None
    loop.close()
    selector = LookingSelector()
    return asyncio.SelectorEventLoop(selector), selector
