"""Rounds on demand: one line in, one line of numbers out, until stdin ends."""

import sys
from collections.abc import Iterable
from time import perf_counter_ns
from typing import Callable, Union

Numbers = Iterable[Union[int, float]]


def serve(**commands: "Callable[..., Numbers]") -> None:
    print(flush=True)
    for line in sys.stdin:
        name, *arguments = line.split()
        print(*commands[name](*map(int, arguments)), flush=True)


def times(count: int, run: "Callable[[], object]") -> "list[int]":
    """How long each of `count` runs takes, in nanoseconds."""
    taken = []
    for _ in range(count):
        start = perf_counter_ns()
        run()
        taken.append(perf_counter_ns() - start)
    return taken
