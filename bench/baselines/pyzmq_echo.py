"""What libzmq needs for an echo: a ROUTER here, a DEALER in a process of its own, over ipc."""

import pathlib
import subprocess
import sys
import tempfile
from time import perf_counter_ns

import zmq
from serve import serve, times

MESSAGE = [b"peer", b"x" * 64]

DEALER = pathlib.Path(__file__).with_name("dealer.py")


def main() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        endpoint = f"ipc://{folder}/s"
        socket = zmq.Context().socket(zmq.ROUTER)
        socket.linger = 0
        socket.bind(endpoint)
        command = [sys.executable, str(DEALER), endpoint]
        dealer = subprocess.Popen(command, stdin=subprocess.PIPE)
        socket.recv_multipart()
        # Bound methods: no attribute is looked up per message.
        send, receive = socket.send_multipart, socket.recv_multipart

        def echo() -> None:
            send(MESSAGE)
            receive()

        def latency(count: int) -> "list[int]":
            return times(count, echo)

        def throughput(count: int, window: int) -> "list[float]":
            start = perf_counter_ns()
            for _ in range(window):
                send(MESSAGE)
            for _ in range(count - window):
                receive()
                send(MESSAGE)
            for _ in range(window):
                receive()
            return [count / (perf_counter_ns() - start) * 1e9]

        serve(latency=latency, throughput=throughput)
        dealer.communicate()  # closes its stdin


if __name__ == "__main__":
    main()
