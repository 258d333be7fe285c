"""Loads changed modules anew before the next request: the pool option `reload: :auto`."""

import logging
import os
import sys
import sysconfig
import threading
from time import time_ns
from types import ModuleType
from typing import Any, Callable, Dict, Tuple

import msgpack

from erlang_python_worker._errors import users_part
from erlang_python_worker._execute import Executor
from erlang_python_worker._protocol import CALL, EVAL, EXEC, RUN
from erlang_python_worker._reload import importers, load, source_file
from erlang_python_worker._requests import Requests

# When a file was written, in nanoseconds, and its size.
State = Tuple[int, int]

_log = logging.getLogger("erlang_python.reload")


class AutoReload:
    """Watches the files of the modules that are not of Python or of installed packages.

    Only the main thread loads modules, between two of its requests. One that fails is tried again
    with the next change of any file.
    """

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._main = threading.main_thread().ident
        # All modules that were looked at, and the files of those that are watched.
        self._seen: "set[str]" = set()
        self._files: "Dict[str, Tuple[str, State]]" = {}
        self._looked = time_ns()
        self._failed: "set[str]" = set()
        self._not_watched = _folders()
        # Compiled code counts as current for whatever is saved in the same second with the same
        # size, and a worker that imports it only then would get what another has compiled before.
        sys.dont_write_bytecode = True

    def install(self, executor: Executor) -> None:
        """Look for changes before each request from now on."""
        self._look()
        for kind in (CALL, EVAL, EXEC, RUN):
            executor.by_type[kind] = self._before(executor.by_type[kind])

    def _before(self, run: "Callable[[Any], Any]") -> "Callable[[Any], Any]":
        def run_current(body: Any) -> Any:
            if not self._between_requests():
                return run(body)
            self._load_changed()
            try:
                return run(body)
            finally:
                # Now, so that a change after this request is seen as one.
                self._look()

        return run_current

    def _between_requests(self) -> bool:
        return threading.get_ident() == self._main and not self._requests.nested

    def _look(self) -> "Dict[str, State]":
        """Begin to watch new modules; gives those that have changed since they were loaded."""
        changed: "Dict[str, State]" = {}
        last, self._looked = self._looked, time_ns()
        for name in sys.modules.keys() - self._seen:
            file = self._watched_file(name)
            state = None if file is None else _state(file)
            if file is not None and state is not None:
                # It was loaded after the last look, and its file may have changed since that.
                self._files[name] = file, ((0, 0) if state[0] >= last else state)
            self._seen.add(name)
        for name, (file, known) in list(self._files.items()):
            if name not in sys.modules:
                del self._files[name]
                self._seen.discard(name)
                continue
            state = _state(file)
            if state is not None and state != known:
                changed[name] = state
        return changed

    def _watched_file(self, name: str) -> "str | None":
        module = sys.modules.get(name)
        spec = getattr(module, "__spec__", None)
        if not isinstance(module, ModuleType) or getattr(spec, "name", None) != name:
            return None
        file = source_file(module)
        if file is None or os.path.realpath(file).startswith(self._not_watched):
            return None
        return file

    def _load_changed(self) -> None:
        changed = self._look()
        if not changed:
            return
        # A module whose file has gone can't be loaded, and must not keep others from it.
        watched = {
            name: sys.modules[name]
            for name, (file, _) in self._files.items()
            if name in sys.modules and os.path.exists(file)
        }
        names = importers(self._failed.union(changed) & watched.keys(), watched)
        try:
            load({name: watched[name] for name in watched if name in names})
        except (Exception, SystemExit) as error:
            self._failed = names
            shown = type(error), error, users_part(error.__traceback__)
            _log.error("%s: the old code stays", _listed(names), exc_info=shown)
        else:
            self._failed = set()
            _log.info("%s: loaded anew", _listed(names))
        # Not after an interrupt: then the next request tries again.
        for name, state in changed.items():
            if name in self._files:
                self._files[name] = self._files[name][0], state


def _folders() -> "tuple[str, ...]":
    """Where the modules are that do not change: Python's own, installed ones, ours."""
    paths = sysconfig.get_paths()
    ours = os.path.dirname(os.path.dirname(__file__))
    runtime = os.path.dirname(os.path.dirname(msgpack.__file__))
    folders = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    return tuple(os.path.join(os.path.realpath(folder), "") for folder in (*folders, ours, runtime))


def _state(file: str) -> "State | None":
    try:
        status = os.stat(file)
    except OSError:  # an editor is about to put the new one there
        return None
    return status.st_mtime_ns, status.st_size


def _listed(names: "set[str]") -> str:
    return ", ".join(sorted(names))
