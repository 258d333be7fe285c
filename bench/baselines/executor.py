"""Python's own answer to the same question: concurrent.futures.ProcessPoolExecutor."""

import math
from concurrent.futures import ProcessPoolExecutor, wait
from time import perf_counter_ns
from typing import Any

from serve import serve, times

FLOATS = [n * 1.1 for n in range(1, 10_001)]
MAPS = [
    {f"key_{k}": f"value {n}" if k % 3 == 0 else n * k for k in range(1, 11)}
    for n in range(1, 1_001)
]


def echo(value: Any) -> Any:
    return value


def spin(rounds: int) -> int:
    total = 0
    for n in range(rounds):
        total += n
    return total


def main() -> None:
    with ProcessPoolExecutor(max_workers=2) as executor:

        def latency(count: int) -> "list[int]":
            return times(count, lambda: executor.submit(math.sqrt, 16).result())

        def submit(count: int) -> "list[float]":
            start = perf_counter_ns()
            wait([executor.submit(math.sqrt, 16) for _ in range(count)])
            return [count / (perf_counter_ns() - start) * 1e9]

        def map_each(count: int) -> "list[float]":
            start = perf_counter_ns()
            for _ in executor.map(math.sqrt, [16] * count, chunksize=1):
                pass
            return [count / (perf_counter_ns() - start) * 1e9]

        def floats(count: int) -> "list[int]":
            return times(count, lambda: executor.submit(echo, FLOATS).result())

        def maps(count: int) -> "list[int]":
            return times(count, lambda: executor.submit(echo, MAPS).result())

        def spins(tasks: int, rounds: int) -> "list[int]":
            return times(1, lambda: wait([executor.submit(spin, rounds) for _ in range(tasks)]))

        serve(latency=latency, submit=submit, map=map_each, floats=floats, maps=maps, spins=spins)


if __name__ == "__main__":
    main()
