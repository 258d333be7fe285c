"""A DEALER that sends everything back, until its stdin ends."""

import os
import sys
import threading

import zmq


def end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end_with_stdin, daemon=True).start()
socket = zmq.Context().socket(zmq.DEALER)
socket.set(zmq.ROUTING_ID, b"peer")
socket.linger = 0
socket.connect(sys.argv[1])
socket.send(b"up")
while True:
    socket.send(socket.recv())
