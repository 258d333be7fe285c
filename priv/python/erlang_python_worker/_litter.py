"""What closed contexts leave, for the garbage collector.

A function refers to the names among which it was defined, and those to the function: such a
namespace does not go when its context is closed, and what is large in it would stay until Python
collects by itself, which a worker with little to do may never come to.
"""

import gc
from time import perf_counter

# A collection waits so long, as a worker is often needed at once by whoever opens the next context.
_DELAY_S = 0.1
# It is followed by at least so many times its own length without one.
_REST = 10


class Litter:
    """When to collect.

    Attributes:
        any: has a context been closed since the last collection?
    """

    def __init__(self) -> None:
        self.any = False
        self._due = self._not_before = 0.0

    def add(self) -> None:
        if not self.any:
            self._due = max(perf_counter() + _DELAY_S, self._not_before)
            self.any = True

    @property
    def wait_ms(self) -> int:
        """How long to let it lie, in milliseconds."""
        return max(0, round((self._due - perf_counter()) * 1_000))

    def collect(self) -> None:
        self.any = False
        # Who has switched it off wants no pauses.
        if gc.isenabled():
            begun = perf_counter()
            gc.collect()
            ended = perf_counter()
            self._not_before = ended + _REST * (ended - begun)
