"""What the machine gives: the same work in two processes that share it out beforehand."""

import os

from executor import spin
from serve import serve, times


def spins(tasks: int, rounds: int) -> "list[int]":
    """The time of an even number of tasks, half of them in a forked process."""

    def half() -> None:
        for _ in range(tasks // 2):
            spin(rounds)

    def both() -> None:
        pid = os.fork()
        if pid == 0:
            half()
            os._exit(0)
        half()
        os.waitpid(pid, 0)

    return times(1, both)


if __name__ == "__main__":
    serve(spins=spins)
