"""The sending side of push_pull.py: as many integers as each line of stdin says."""

import sys

import msgpack
import zmq


def main() -> None:
    socket = zmq.Context().socket(zmq.PUSH)
    socket.connect(sys.argv[1])
    send, pack = socket.send, msgpack.Packer().pack
    send(pack(0))
    for line in sys.stdin:
        for n in range(int(line)):
            send(pack(n))


if __name__ == "__main__":
    main()
