"""tqdm tells of progress instead of drawing bars, where the caller wants to hear of it."""

import io
from typing import Any

from erlang import _request
from erlang._progress import progress
from erlang_python_worker._import_hooks import when_imported


def install() -> None:
    when_imported("tqdm.std", _attach)


def _attach(module: Any) -> None:
    tqdm = module.tqdm
    start, display = tqdm.__init__, tqdm.display

    def start_quietly(self: Any, *args: Any, **kwargs: Any) -> None:
        # The lines' ends that it writes beside its bars; `file` is its sixth parameter.
        if _wanted() and len(args) < 5 and kwargs.get("file") is None:
            kwargs["file"] = _Nowhere()
        start(self, *args, **kwargs)

    def tell(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not _wanted():
            return display(self, *args, **kwargs)
        # Its own bar, not one that it shows beside; its text ends in a colon.
        progress(self.n, self.total, str(self.desc or "").rstrip(": "))
        return True

    tqdm.__init__, tqdm.display = start_quietly, tell


def _wanted() -> bool:
    run = _request._current()
    return run is not None and run.progress is not None


class _Nowhere(io.StringIO):
    def write(self, text: str) -> int:
        return len(text)
