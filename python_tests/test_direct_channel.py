"""The direct channel alone, on a socket whose other end sends prepared bytes."""

import itertools
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from erlang_python_worker import _direct_channel
from erlang_python_worker._channel import Closed
from erlang_python_worker._direct_channel import DirectChannel

COMMAND = 4
PING = b"\x04PING\x00\x00context"
# Around the sizes at which the channel reads in another way, and around a frame's short form.
SIZES = st.one_of(
    st.integers(0, 300),
    st.sampled_from([65_535, 65_536, 65_537, 65_546, 131_071, 131_072, 131_073]),
    st.integers(0, 400_000),
)


class Pieces(socket.socket):
    """Gives at most so many bytes at a read, whatever has come and whatever was asked for."""

    limits: "Iterator[int]" = itertools.repeat(1 << 30)

    def recv(self, size: int, flags: int = 0) -> bytes:
        return super().recv(min(size, next(self.limits)), flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        return super().recv_into(buffer, min(nbytes or len(buffer), next(self.limits)), flags)


def socket_pair(family: str) -> "tuple[socket.socket, Pieces]":
    if family == "ipc":
        peer, ours = socket.socketpair()
    else:
        with closing(socket.create_server(("127.0.0.1", 0))) as server:
            ours = socket.create_connection(server.getsockname())
            peer, _ = server.accept()
    return peer, Pieces(ours.family, ours.type, ours.proto, ours.detach())


@contextmanager
def channel(sent: bytes, family: str = "ipc") -> "Iterator[tuple[DirectChannel, Pieces]]":
    """A channel to which its peer sends the bytes, and then the end of the connection."""
    peer, ours = socket_pair(family)

    def send() -> None:
        peer.sendall(_direct_channel._GREETING + _direct_channel._frame(COMMAND, b"\x05READY"))
        peer.sendall(sent)
        peer.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    with closing(peer), closing(ours):
        yield DirectChannel(ours, "name"), ours
        sender.join()


def wire(frames: "list[bytes]") -> bytes:
    flags = [1] * (len(frames) - 1) + [0]
    return b"".join(map(_direct_channel._frame, flags, frames))


def body(size: int) -> bytes:
    # No two places of it look alike, so that nothing can be lost or doubled unseen.
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))[:size]


@pytest.mark.parametrize("family", ["ipc", "tcp"])
@given(
    messages=st.lists(st.lists(SIZES, min_size=1, max_size=4), min_size=1, max_size=4),
    limits=st.lists(st.one_of(st.integers(1, 64), st.integers(1, 200_000)), min_size=1),
)
@example(messages=[[20, 300_000], [9]], limits=[31, 200_000])  # the head and a header alone
@example(messages=[[20, 300_000, 70_000], [9]], limits=[300_000])
@example(messages=[[200_000], [200_000, 0, 200_000]], limits=[1, 100_000])
def test_frames_come_whole_however_their_bytes_come(
    family: str, messages: "list[list[int]]", limits: "list[int]"
) -> None:
    expected = [[body(size) for size in sizes] for sizes in messages]
    # Small pieces alone would take minutes.
    pieces = itertools.chain(limits, itertools.repeat(max(limits[-1], 5_000)))
    with channel(b"".join(map(wire, expected)), family) as (direct, ours):
        ours.limits = pieces
        received = [[direct.receive_head(), *direct.receive_buffers()] for _ in messages]
        with pytest.raises(Closed):
            direct.receive_head()
    assert received == expected
    assert all(type(frame) is bytes for frames in received for frame in frames)


@pytest.mark.parametrize("size", [100, 65_536, 1_000_000])
@pytest.mark.parametrize("missing", [1, 50])
def test_a_frame_that_ends_early_is_a_closed_connection(size: int, missing: int) -> None:
    with channel(wire([b"head", body(size)])[:-missing]) as (direct, _):
        assert direct.receive_head() == b"head"
        with pytest.raises(Closed):
            direct.receive_buffers()


@pytest.mark.parametrize("step", ["receive_head", "receive_buffers", "send_head", "send"])
def test_a_connection_that_is_reset_is_a_closed_one(step: str) -> None:
    peer, ours = socket_pair("ipc")
    with closing(peer), closing(ours):
        peer.sendall(_direct_channel._GREETING + _direct_channel._frame(COMMAND, b"\x05READY"))
        direct = DirectChannel(ours, "name")
        if step == "receive_buffers":
            peer.sendall(wire([b"head", body(1_000_000)])[:10])
            assert direct.receive_head() == b"head"
        peer.close()  # with bytes of ours that it has not read
        steps = {"send_head": (b"head",), "send": (b"head", [bytes(1_000_000)])}
        with pytest.raises(Closed):
            getattr(direct, step)(*steps.get(step, ()))


def test_a_ping_between_large_frames_is_answered() -> None:
    first, last = _direct_channel._frame(1, body(200_000)), _direct_channel._frame(0, body(90_000))
    sent = wire([b"head", b""])[:-2] + first + _direct_channel._frame(COMMAND, PING) + last
    peer, ours = socket_pair("ipc")
    with closing(peer), closing(ours):
        greeting = _direct_channel._GREETING + _direct_channel._frame(COMMAND, b"\x05READY")
        sender = threading.Thread(target=peer.sendall, args=(greeting + sent,))
        sender.start()
        direct = DirectChannel(ours, "name")
        assert direct.receive_head() == b"head"
        assert direct.receive_buffers() == [body(200_000), body(90_000)]
        sender.join()
        assert peer.recv(10_000).endswith(_direct_channel._frame(COMMAND, b"\x04PONGcontext"))


@pytest.mark.parametrize(("messages", "looks"), [(1, 1), (2, 0)])
@pytest.mark.parametrize("size", [7, 1_000])
def test_it_looks_for_the_next_message_where_each_comes_alone(
    monkeypatch: pytest.MonkeyPatch, size: int, messages: int, looks: int
) -> None:
    message = body(size)
    peer, sock = socket_pair("ipc")
    with closing(peer), closing(sock):
        peer.sendall(_direct_channel._GREETING + _direct_channel._frame(COMMAND, b"\x05READY"))
        ours = DirectChannel(sock, "name")
        peer.sendall(wire([message]) * messages)
        assert [ours.receive_head() for _ in range(messages)] == [message] * messages
        looked: "list[None]" = []
        monkeypatch.setattr(ours._spin, "look", lambda: looked.append(None))
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(Closed):
            ours.receive_head()
    assert len(looked) == looks


class Alarm(Exception):
    pass


@pytest.mark.parametrize("size", [300_000, 5_000_000])
def test_a_message_is_sent_whole_whatever_a_signal_handler_raises(size: int) -> None:
    def ring(_number: int, frame: "FrameType | None") -> None:
        # Not where Python drops what is raised.
        if frame is not None and frame.f_code.co_filename == _direct_channel.__file__:
            raise Alarm

    message, rounds, rung = [b"head", body(size)], 40, 0
    received = bytearray()
    peer, ours = socket_pair("ipc")
    peer.sendall(_direct_channel._GREETING + _direct_channel._frame(COMMAND, b"\x05READY"))
    direct = DirectChannel(ours, "name")

    def read() -> None:
        while data := peer.recv(65_536):
            received.extend(data)

    reader = threading.Thread(target=read)
    before = signal.signal(signal.SIGALRM, ring)
    try:
        reader.start()
        for number in range(rounds):
            try:
                signal.setitimer(signal.ITIMER_REAL, (number + 1) * size / 4e11)
                direct.send(message[0], message[1:])
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Alarm:
                rung += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        ours.close()
        reader.join()
        peer.close()
    assert rung > 0
    # Each was sent whole, or not at all.
    whole = wire(message)
    sent = len(received) // len(whole)
    assert rounds - rung <= sent <= rounds
    assert received.endswith(whole * sent)
    assert len(received) - sent * len(whole) < 200  # greeting and handshake
