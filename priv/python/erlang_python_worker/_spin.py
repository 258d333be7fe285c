"""How long a thread looks for its next message before it sleeps.

Theory of operation. To wake a thread that sleeps is the dearest step of a small call. Where the
next message follows at once, as from a caller who calls again, a thread that is still awake has it
in half the time (docs/performance.md). But to look takes a core, and that is only free as long as
nobody else wants it. So between two looks the thread offers its core (sched_yield(2)):

* It has the core back at once: nobody else wants it, and the next look costs nobody anything.
* It has the core back late: others had work to do. So it sleeps, and the core is theirs.

Each time that nothing is found, for the one reason or the other, it goes to sleep at once for the
next times: once, then 3 times, 7, and so on. Each time that something is found halves that. So
a worker that is called now and then sleeps between its calls, and many workers on few cores do
not fight for those. In a container whose CPU time is limited it always sleeps at once.
"""

import os
from time import perf_counter_ns
from typing import Any, Callable, Optional

from erlang_python_worker._cpu import cores, is_metered

# More than an answer and the next request take while both sides still sleep between the two: with
# less, a pair that sleeps would never find out that it need not.
_LOOK_NS = 200_000
# Many times what a look and an offer take that nobody accepts. The system's own threads, and those
# of the BEAM that have nothing to do, take a core for less.
_LATE_NS = 20_000
_MOST_SKIPPED = 63


class Spin:
    """For one thread, and one thing that it waits for.

    Args:
        poll: called with 0 milliseconds to wait; gives something true if a message is there.
    """

    def __init__(self, poll: "Callable[[int], Any]") -> None:
        self._poll = poll
        # How many times it still sleeps at once, and for how many it had to begin with.
        self._left = self._skipped = 0

    # The clock as an argument: what freezes time for tests exchanges it in modules.
    def look(self, now: "Callable[[], int]" = perf_counter_ns) -> bool:
        """Look a little while; true if a message is there."""
        if self._left:
            self._left -= 1
            return False
        poll, offer = self._poll, _offer
        if offer is None:
            return False
        last = now()
        end = last + _LOOK_NS
        while not poll(0):
            offer()
            at = now()
            if at - last > _LATE_NS or at > end:
                self._left = self._skipped = min(2 * self._skipped + 1, _MOST_SKIPPED)
                return False
            last = at
        self._skipped //= 2
        return True


def _may_look() -> bool:
    # With one core, whoever is to send the message would wait for it. Where CPU time is limited, to
    # look would take from what there is for work.
    return cores() > 1 and not is_metered()


_offer: "Optional[Callable[[], None]]" = getattr(os, "sched_yield", None) if _may_look() else None
