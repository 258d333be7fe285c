"""What a child process of a worker's has from it, so that it can call Elixir too."""

import sys
from typing import Optional, Tuple

# Where the BEAM listens, the worker's token, bytes of a message at most, and on whose behalf the
# child works: the number of a request (0: nobody's) and of its context.
Given = Tuple[str, str, int, int, Optional[int]]

# Where `multiprocessing` hands it to the processes that it starts anew.
CONFIG = "erlang_python"

# Set in a forked child.
forked: "Optional[Given]" = None


def given() -> "Optional[Given]":
    """``None`` in a process that is no child of a worker, or of which the worker does not know."""
    if forked is not None:
        return forked
    module = sys.modules.get("multiprocessing.process")
    if module is None:
        return None
    found = module.current_process()._config.get(CONFIG)
    return found if isinstance(found, tuple) else None
