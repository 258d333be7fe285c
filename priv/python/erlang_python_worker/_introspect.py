"""What `py:memory_stats` and its kin ask each worker."""

import gc
from typing import Any, Dict


def memory_stats() -> "Dict[str, Any]":
    import tracemalloc

    stats: "Dict[str, Any]" = {
        "gc_stats": gc.get_stats(),
        "gc_count": gc.get_count(),
        "gc_threshold": gc.get_threshold(),
    }
    if tracemalloc.is_tracing():
        stats["traced"] = tracemalloc.get_traced_memory()
    return stats


def start_tracing(frames: int) -> None:
    """Trace what is allocated from now on; other than Python, with as many frames as asked last."""
    import tracemalloc

    if tracemalloc.is_tracing() and tracemalloc.get_traceback_limit() != frames:
        tracemalloc.stop()
    tracemalloc.start(frames)


def stop_tracing() -> None:
    import tracemalloc

    tracemalloc.stop()
