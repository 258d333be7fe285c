import resource  # now: a folder of `paths` may hide it later on
import sys


def resident_bytes() -> int:
    """The memory that this process holds; where /proc is missing, the most it ever held."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            pages = int(file.read(128).split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1_024
    return pages * resource.getpagesize()
