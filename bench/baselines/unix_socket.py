"""What the kernel needs to move bytes between two processes: a pair of unix sockets, no protocol.

Each message is an operation and a size; the peer receives into memory that it keeps.
"""

import os
import socket
import struct

from serve import serve, times

HEAD = struct.Struct("=BQ")
ECHO, TAKE, GIVE = range(3)


def receive(peer: socket.socket, memory: memoryview) -> None:
    at = 0
    while at < len(memory):
        got = peer.recv_into(memory[at:])
        if got == 0:
            os._exit(0)  # the other side has ended
        at += got


class Memory:
    """Bytes that are there already, whatever size is asked for."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def view(self, size: int) -> memoryview:
        if len(self._bytes) < size:
            self._bytes = bytearray(os.urandom(size))
        return memoryview(self._bytes)[:size]


def answer(peer: socket.socket) -> None:
    memory = Memory()
    head = bytearray(HEAD.size)
    while True:
        receive(peer, memoryview(head))
        operation, size = HEAD.unpack(head)
        view = memory.view(size)
        if operation != GIVE:
            receive(peer, view)
        peer.sendall(b"." if operation == TAKE else view)


def main() -> None:
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        answer(theirs)
    theirs.close()
    memory = Memory()
    done = memoryview(bytearray(1))

    def exchange(operation: int, sent: memoryview, received: memoryview, size: int) -> None:
        first = ours.sendmsg([HEAD.pack(operation, size), sent])
        ours.sendall(sent[first - HEAD.size :])
        receive(ours, received)

    def echo(size: int, count: int) -> "list[int]":
        view = memory.view(size)
        return times(count, lambda: exchange(ECHO, view, view, size))

    def to_peer(size: int, count: int) -> "list[int]":
        view = memory.view(size)
        return times(count, lambda: exchange(TAKE, view, done, size))

    def from_peer(size: int, count: int) -> "list[int]":
        view = memory.view(size)
        return times(count, lambda: exchange(GIVE, view[:0], view, size))

    serve(echo=echo, to_peer=to_peer, from_peer=from_peer)


if __name__ == "__main__":
    main()
