import os
import threading
from collections import deque
from typing import Any

from erlang._atom import Atom
from erlang._calls import bridge, connected
from erlang._handles import Pid

# Elements that come at once double up to here, as long as they are asked for.
_MOST = 256


class Iterator:
    """An iterator over an Elixir enumerable, which computes elements as they are asked for.

    For any thread, and for ``async for``. It ends with the Elixir process that passed it in.
    """

    def __init__(self, pid: Pid) -> None:
        self._pid = pid
        self._items: "deque[Any]" = deque()
        self._most = 1
        self._ended = False
        self._lock = threading.RLock()
        # Whose it is, and whose threads the lock is for.
        self._process = self._locks = os.getpid()

    def __iter__(self) -> "Iterator":
        return self

    def __next__(self) -> Any:
        if self._locks != os.getpid():
            # In a forked child a thread of its parent's may hold it for ever.
            self._lock, self._locks = threading.RLock(), os.getpid()
        with self._lock:
            while not self._items:
                if self._ended:
                    raise StopIteration
                self._pull()
            return self._items.popleft()

    def _pull(self) -> None:
        try:
            answer = bridge().service("next", self._pid, self._most)
        except BaseException:
            self.close()
            raise
        self._take(answer)

    def _take(self, answer: "list[Any]") -> None:
        items, self._ended = answer
        self._most = min(2 * self._most, _MOST)
        self._items.extend(items)

    def __aiter__(self) -> "Iterator":
        return self

    async def __anext__(self) -> Any:
        # One task at a time, as for an asynchronous generator.
        while not self._items:
            if self._ended:
                raise StopAsyncIteration
            try:
                answer = await bridge().aservice("next", self._pid, self._most)
            except BaseException:
                self.close()
                raise
            self._take(answer)
        return self._items.popleft()

    def close(self) -> None:
        """Halt the enumeration in Elixir; a ``for`` that breaks off does so by itself."""
        if not self._ended:
            self._ended = True
            self._items.clear()
            # In a forked child it is still its parent's.
            if self._process == os.getpid() and connected():
                # Not sent here: this may be a destructor, which runs in the middle of anything.
                bridge().send_later(self._pid, Atom("halt"))

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<erlang.Iterator {'ended' if self._ended else 'of ' + repr(self._pid)}>"
