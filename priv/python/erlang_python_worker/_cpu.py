"""What the system lets this process have of its processors."""

import os
from contextlib import suppress

_PROCESS = "/proc/self/cgroup"
_GROUPS = "/sys/fs/cgroup"


def cores() -> int:
    """On how many it may run."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_metered(process: str = _PROCESS, groups: str = _GROUPS) -> bool:
    """Has its group, or one around that, a limit of CPU time, as containers have?

    Args:
        process: which groups it belongs to, cgroups(7), "/proc files".
        groups: where their files are: ``cpu.max`` of cgroups v2 with "max" for no limit, and
            ``cpu.cfs_quota_us`` of v1 with -1, which containers find where it stands here.
    """
    files = [f"{groups}/cpu/cpu.cfs_quota_us"]
    with suppress(OSError), open(process, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("0::"):
                names = [name for name in line[3:].strip().split("/") if name]
                files += [
                    "/".join([groups, *names[:depth], "cpu.max"]) for depth in range(len(names) + 1)
                ]
    return any(map(_limits, files))


def _limits(file: str) -> bool:
    with suppress(OSError), open(file, encoding="ascii") as text:
        return text.read().split()[:1] not in ([], ["max"], ["-1"])
    return False
