import threading
from typing import Optional, Protocol


class _Requests(Protocol):
    @property
    def running(self) -> int: ...

    def is_cancelled(self, request_id: int) -> bool: ...


# Set by the worker before it takes requests; None in processes that serve none.
_requests: "Optional[_Requests]" = None


class Request:
    """The request that is being served.

    Attributes:
        id: its number, unique in this worker.
    """

    __slots__ = ("_requests", "id")

    def __init__(self, id: int, requests: _Requests) -> None:
        self.id = id
        self._requests = requests

    @property
    def cancelled(self) -> bool:
        """Has Elixir said that nobody waits for the result any more?"""
        return self._requests.is_cancelled(self.id)

    def __repr__(self) -> str:
        return f"<erlang.Request {self.id}{' cancelled' if self.cancelled else ''}>"


def current_request() -> "Optional[Request]":
    """The request that this thread serves; ``None`` in threads that serve none."""
    requests = _requests
    if requests is None or threading.current_thread() is not threading.main_thread():
        return None
    running = requests.running
    return Request(running, requests) if running else None
