"""What the rest of the worker knows of its connections, whichever way they are made.

Two implementations speak the same wire, as one protocol page and one test suite say:

* ``_direct_channel.py``, the default: ZMTP on a blocking socket in the thread that uses it.
  A message costs one system call and wakes nobody but its reader.
* ``_pyzmq_channel.py``: a DEALER of libzmq, whose I/O thread stands in between.
"""

from collections.abc import Sequence
from typing import Any, Protocol


class Closed(ConnectionError):
    """The connection is gone: the BEAM has closed it, or the worker is leaving."""


class Channel(Protocol):
    """A DEALER connected to the BEAM's ROUTER. Not thread-safe but for `post`: one owner."""

    def receive_head(self) -> bytes:
        """Wait for a message; gives its first frame. Raises `Closed`."""

    def send_head(self, head: bytes) -> None:
        """Send a message of one small frame. Raises `Closed`."""

    def receive_buffers(self) -> "list[Any]":
        """The out-of-band frames that follow the head just received.

        Each is `bytes`, or a memoryview of memory of its own that can be written to.
        """

    def send(self, head: bytes, buffers: "Sequence[Any]" = ()) -> None:
        """Send a message of any size. Raises `Closed`.

        A buffer may be changed as soon as this has returned: the BEAM gets what it was.
        """

    def post(self, head: bytes) -> None:
        """Send a message of one small frame from any thread, in the middle of anything.

        It leaves before whatever is sent after it. Never waits for the thread that owns the
        channel. Raises `OSError` if it can't be taken.
        """

    def wait(self, timeout_ms: "int | None") -> bool:
        """Has a message come within the time? ``None``: wait for as long as it takes."""

    def fileno(self) -> int:
        """A descriptor that becomes readable when there may be messages.

        With `edge_triggered` it tells only of what is new: ask `wait` after each send too.
        """

    @property
    def edge_triggered(self) -> bool: ...

    def close(self) -> None:
        """Close it once all that was sent has left."""


class Connector(Protocol):
    """Makes the channels of one process."""

    def connect(self, routing_id: str) -> Channel:
        """A new channel, known to the ROUTER by this name."""

    def end(self) -> None:
        """Make every channel that still receives raise `Closed`."""


def connector(kind: str, endpoint: str) -> Connector:
    """The implementation of a kind, ``direct`` or ``pyzmq``."""
    if kind == "direct":
        from erlang_python_worker._direct_channel import DirectConnector

        return DirectConnector(endpoint)
    from erlang_python_worker._pyzmq_channel import PyzmqConnector

    return PyzmqConnector(endpoint)
