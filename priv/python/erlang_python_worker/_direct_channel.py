"""ZMTP 3.1 (ZeroMQ RFC 37, NULL mechanism) on a blocking socket: a DEALER without libzmq.

The ROUTER on the other side reads all the time and never waits for us to read, so a send here
always gets through, and one thread may both send and receive (docs/architecture.md).
"""

import io
import select
import socket
import struct
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any, Optional

from erlang_python_worker._channel import Closed
from erlang_python_worker._spin import Spin

# RFC 37, "Greeting": signature, version 3.1, mechanism, as-server, filler.
_SIGNATURE_SIZE = 10
_GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)

# RFC 37, "Framing": flags, then the size in one byte or, under LONG, in eight.
_MORE, _LONG, _COMMAND = 1, 2, 4
_pack_long = struct.Struct(">BQ").pack
# The start of each short frame that ends its message.
_SHORT = [bytes((0, size)) for size in range(256)]
_read_u64 = struct.Struct(">Q").unpack_from

# One read takes whatever has come, as a rule several small messages.
_READ_SIZE = 65_536
# Above this a frame's missing part is read straight into the memory of its bytes.
_DIRECT_FROM = 65_536
# Joining a small head with its frame's header saves a system call.
_JOIN_BELOW = 65_536
# More frames than these let their thread wait a little, so that a flood takes no memory.
_POSTED_FREELY = 1_000
_POST_WAIT_S = 0.1
# gevent and eventlet put others in their place, which wait for their threads alone, or nothing.
_new_socket, _new_poll = socket.socket, select.poll
_CLOSED = "the BEAM closed the connection"
# As on the other side (connection.ex); a tcp socket's buffer is the kernel's to size.
_SEND_BUFFER = 262_144


class DirectConnector:
    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._channels: "weakref.WeakSet[DirectChannel]" = weakref.WeakSet()
        self._adding = threading.RLock()  # a destructor may come again

    def connect(self, routing_id: str) -> "DirectChannel":
        channel = DirectChannel(_open(self._endpoint), routing_id)
        with self._adding:
            self._channels.add(channel)
        return channel

    def end(self) -> None:
        with self._adding:
            channels = list(self._channels)
        for channel in channels:
            channel.shut_down()


def _open(endpoint: str) -> socket.socket:
    scheme, _, address = endpoint.partition("://")
    sock = _new_socket(socket.AF_UNIX if scheme == "ipc" else socket.AF_INET)
    sock.settimeout(None)  # whatever `socket.setdefaulttimeout` was told
    if scheme == "ipc":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        sock.connect(address)
    else:
        host, _, port = address.rpartition(":")
        sock.connect((host, int(port)))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class DirectChannel:
    """See `Channel`."""

    def __init__(self, sock: socket.socket, routing_id: str) -> None:
        self._socket = sock
        # What was read and not yet taken starts at `_at`.
        self._read = b""
        self._at = 0
        self._more = False
        # Held for each message, so that what others post comes between two.
        self._sending = threading.Lock()
        self._posted: "deque[bytes]" = deque()
        self._poll = _new_poll()
        self._poll.register(sock, select.POLLIN)
        self._spin = Spin(self._poll.poll)
        # Has `wait` seen that there is something to be read?
        self._here = False
        self._handshake(routing_id)

    def _handshake(self, routing_id: str) -> None:
        self._socket.sendall(_GREETING)
        greeting = self._take(len(_GREETING))
        if greeting[:1] != b"\xff" or greeting[_SIGNATURE_SIZE] < 3:
            raise Closed("the peer does not speak ZMTP 3")
        properties = _property("Socket-Type", b"DEALER")
        properties += _property("Identity", routing_id.encode())
        self._socket.sendall(_frame(_COMMAND, b"\x05READY" + properties))
        flags, body = self._next_frame()
        if not flags & _COMMAND or body[:6] != b"\x05READY":
            raise Closed(f"the peer refused the connection: {body!r}")

    # Receiving

    def receive_head(self) -> bytes:
        # The hot path: a short frame that is here already, or comes whole with the next read.
        while True:
            read, at = self._read, self._at
            if len(read) - at > 1 and read[at] <= _MORE:
                end = at + 2 + read[at + 1]
                if end <= len(read):
                    self._at = end
                    self._more = read[at] == _MORE
                    return read[at + 2 : end]
            elif len(read) - at > 1:
                flags, body = self._next_frame()
                if not flags & _COMMAND:
                    self._more = bool(flags & _MORE)
                    return body
                self._obey(body)
                continue
            self._fill()

    def receive_buffers(self) -> "list[Any]":
        buffers = []
        while self._more:
            flags, body = self._next_frame()
            if flags & _COMMAND:
                self._obey(body)
            else:
                self._more = bool(flags & _MORE)
                buffers.append(body)
        return buffers

    def wait(self, timeout_ms: "int | None") -> bool:
        if self._at < len(self._read):
            return True
        self._here = (timeout_ms != 0 and self._spin.look()) or bool(self._poll.poll(timeout_ms))
        return self._here

    edge_triggered = False

    def fileno(self) -> int:
        return self._socket.fileno()

    def _fill(self) -> None:
        # Several messages in one read come from many callers: the next ones are on their way.
        if not self._here and self._at == len(self._read) and _one_frame(self._read):
            self._spin.look()
        self._here = False
        try:
            data = self._socket.recv(_READ_SIZE)
        except ConnectionError:
            data = b""
        if not data:
            raise Closed(_CLOSED)
        if self._at < len(self._read):
            data = self._read[self._at :] + data
        self._read, self._at = data, 0

    def _next_frame(self) -> "tuple[int, bytes]":
        flags = self._take(1)[0]
        size = _read_u64(self._take(8))[0] if flags & _LONG else self._take(1)[0]
        return flags, self._take(size)

    def _take(self, size: int) -> bytes:
        if size - (len(self._read) - self._at) > _DIRECT_FROM:
            return self._take_large(size)
        while len(self._read) - self._at < size:
            self._fill()
        start, self._at = self._at, self._at + size
        return self._read[start : self._at]

    def _take_large(self, size: int) -> bytes:
        # Only a BufferedReader puts bytes that are here and bytes of the socket into one
        # `bytes` without a second copy. It need not buffer anything.
        rest = _Rest(self._read[self._at :], self._socket, size)
        self._read, self._at = b"", 0
        try:
            data = io.BufferedReader(rest, 1).read(size)
        except ConnectionError:
            data = b""
        except BaseException:
            # A signal handler of the user's. What has come of the frame is lost, so is its end.
            self.shut_down()
            raise
        if len(data) < size:
            raise Closed(_CLOSED)
        return data

    def _obey(self, command: bytes) -> None:
        # RFC 37, "Heartbeating": the answer carries the context that follows a 16-bit TTL.
        if command[:5] == b"\x04PING":
            with self._sending:
                self._transmit(_frame(_COMMAND, b"\x04PONG" + command[7:]))
            self._send_posted()

    # Sending

    def send_head(self, head: bytes) -> None:
        size = len(head)
        frame = _SHORT[size] + head if size < len(_SHORT) else _frame(0, head)
        sending = self._sending
        sending.acquire()  # `with` takes twice as long
        try:
            if self._posted:
                self._send_all_posted()
            self._socket.sendall(frame)
        except ConnectionError:
            raise Closed(_CLOSED) from None
        finally:
            sending.release()
        if self._posted:
            self._send_posted()

    def send(self, head: bytes, buffers: "Sequence[Any]" = ()) -> None:
        with self._sending:
            self._send_all_posted()
            parts = _parts(_MORE if buffers else 0, head)
            for left, data in enumerate(buffers, 1 - len(buffers)):
                parts += _parts(_MORE if left else 0, data)
            self._send_whole(parts)
        self._send_posted()

    def _send_whole(self, parts: "list[Any]") -> None:
        # A signal handler of the user's may raise in the middle of it, an alarm's for example. The
        # rest has to follow all the same, or the BEAM would take what comes next for it.
        raised: "Optional[BaseException]" = None
        sent: "list[int]" = []
        while True:
            try:
                at = sum(sent)
                for part in parts:
                    with memoryview(part).cast("B") as view:
                        while at < len(view):
                            # In one step: so it is known how much has left, whatever is raised.
                            sent.extend(map(self._socket.send, (view[at:],)))
                            at += sent[-1]
                        at -= len(view)
                break
            except ConnectionError:
                raise Closed(_CLOSED) from None
            except BaseException as error:
                raised = error
        if raised is not None:
            raise raised

    def post(self, head: bytes) -> None:
        self._posted.append(_frame(0, head))
        if len(self._posted) > _POSTED_FREELY and self._sending.acquire(timeout=_POST_WAIT_S):
            self._sending.release()
        self._send_posted()

    def _send_posted(self) -> None:
        # It never waits for the lock: its holder, who may be this very thread when a destructor
        # or a signal handler posts, looks here again when it has let go.
        while self._posted and self._sending.acquire(blocking=False):
            try:
                self._send_all_posted()
            finally:
                self._sending.release()

    def _send_all_posted(self) -> None:
        while self._posted:
            self._transmit(self._posted.popleft())

    def _transmit(self, data: Any) -> None:
        try:
            self._socket.sendall(data)
        except ConnectionError:
            raise Closed(_CLOSED) from None

    def close(self) -> None:
        self._socket.close()

    def shut_down(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:  # closed already, on one side or the other
            pass


class _Rest(io.RawIOBase):
    """The bytes of one large frame and no more: those that were read already, then the socket's."""

    def __init__(self, here: bytes, sock: socket.socket, size: int) -> None:
        self._here = here
        self._socket = sock
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, memory: Any) -> int:
        if self._here:
            count = min(len(self._here), len(memory))
            memory[:count], self._here = self._here[:count], self._here[count:]
        else:
            most = min(self._left, len(memory))
            # A read that waits for all is one system call, not one for each piece.
            count = self._socket.recv_into(memory, most, socket.MSG_WAITALL) if most else 0
        self._left -= count
        return count


def _parts(flags: int, data: Any) -> "list[Any]":
    """A frame in as many pieces as it is best sent in."""
    with memoryview(data) as view:
        size = view.nbytes
        if size < _JOIN_BELOW:
            return [_frame(flags, view.tobytes())]
    return [_pack_long(flags | _LONG, size), data]


def _frame(flags: int, body: bytes) -> bytes:
    size = len(body)
    if size < 256:
        return bytes((flags, size)) + body
    return _pack_long(flags | _LONG, size) + body


def _one_frame(read: bytes) -> bool:
    """Is it no more than one frame? Of a large one nothing is kept."""
    if len(read) < 9:
        return len(read) < 2 or len(read) == 2 + read[1]
    return len(read) == (9 + _read_u64(read, 1)[0] if read[0] & _LONG else 2 + read[1])


def _property(name: str, value: bytes) -> bytes:
    return bytes((len(name),)) + name.encode() + len(value).to_bytes(4, "big") + value
