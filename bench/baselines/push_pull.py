"""Small integers from a process to this one: a PUSH there, a PULL here, one message each, over ipc."""

import pathlib
import subprocess
import sys
import tempfile
from time import perf_counter_ns

import msgpack
import zmq
from serve import serve

PUSH = pathlib.Path(__file__).with_name("push.py")


def main() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        endpoint = f"ipc://{folder}/s"
        socket = zmq.Context().socket(zmq.PULL)
        socket.linger = 0
        socket.bind(endpoint)
        command = [sys.executable, str(PUSH), endpoint]
        pusher = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, bufsize=1)
        assert pusher.stdin is not None
        stdin = pusher.stdin
        receive, unpack = socket.recv, msgpack.unpackb
        unpack(receive())  # it is connected

        def items(count: int) -> "list[float]":
            start = perf_counter_ns()
            print(count, file=stdin, flush=True)
            for _ in range(count):
                unpack(receive())
            return [count / (perf_counter_ns() - start) * 1e9]

        serve(items=items)
        pusher.communicate()  # closes its stdin


if __name__ == "__main__":
    main()
