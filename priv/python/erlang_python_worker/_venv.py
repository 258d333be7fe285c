"""Environments and folders that a running worker takes up: `py:activate_venv` and its kin."""

import importlib
import os
import site
import sys
import sysconfig
from types import ModuleType
from typing import Any, Dict, Optional


class InvalidVenv(Exception):
    """The folder is no virtual environment of this Python."""


class Activation:
    """What an environment has brought, so that exactly that can be taken away again."""

    def __init__(self, path: str, folders: "list[str]") -> None:
        self.path = path
        self.folders = folders
        self._modules = set(sys.modules)
        finders, hooks, before = list(sys.meta_path), list(sys.path_hooks), list(sys.path)
        variables = dict(os.environ)
        self._entries = _add_site_folders(folders)
        # What .pth files have set: the value before, and theirs.
        self._variables = {
            name: (variables.get(name), os.environ.get(name))
            for name in variables.keys() | os.environ.keys()
            if variables.get(name) != os.environ.get(name)
        }
        self._finders = _new(sys.meta_path, finders)
        self._hooks = _new(sys.path_hooks, hooks)
        # As in an environment of its own: after Python's library, before other packages.
        at = next((i for i, entry in enumerate(before) if _is_site_folder(entry)), len(before))
        sys.path[:] = before[:at] + self._entries + before[at:]
        self._set_variables()

    def _set_variables(self) -> None:
        self._variables["VIRTUAL_ENV"] = os.environ.get("VIRTUAL_ENV"), self.path
        self._programs = os.path.join(self.path, "bin")
        os.environ["VIRTUAL_ENV"] = self.path
        before = os.environ.get("PATH")
        os.environ["PATH"] = self._programs + (os.pathsep + before if before else "")

    def undo(self) -> "Dict[str, ModuleType]":
        """Gives what was imported from it, which is no longer in ``sys.modules``."""
        entries = [entry for entry in self._entries if entry not in _added]
        sys.path[:] = [entry for entry in sys.path if entry not in entries]
        sys.meta_path[:] = _new(sys.meta_path, self._finders)
        sys.path_hooks[:] = _new(sys.path_hooks, self._hooks)
        for entry in entries:
            sys.path_importer_cache.pop(entry, None)
        importlib.invalidate_caches()
        self._restore_variables()
        return self._take_modules(entries)

    def _restore_variables(self) -> None:
        for name, (before, during) in self._variables.items():
            # Not one that somebody else has changed since.
            if os.environ.get(name) != during:
                continue
            if before is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = before
        programs = os.environ.get("PATH", "").split(os.pathsep)
        os.environ["PATH"] = os.pathsep.join(e for e in programs if e != self._programs)

    def _take_modules(self, entries: "list[str]") -> "Dict[str, ModuleType]":
        folders = tuple(os.path.join(entry, "") for entry in entries)
        gone: "set[str]" = set()
        # A package before its parts, which are out of reach with it.
        for name in sorted(set(sys.modules) - self._modules):
            module = sys.modules[name]
            parent = name.rpartition(".")[0]
            if parent in gone or _is_below(module, folders) or not (parent or _found(name, module)):
                gone.add(name)
        return {name: sys.modules.pop(name) for name in gone}


_active: "Optional[Activation]" = None
# The entries of `add_path`, which an environment's end does not take along.
_added: "set[str]" = set()
# Modules of environments that are no longer active: some can't be loaded twice by one process.
_set_aside: "Dict[str, Dict[str, ModuleType]]" = {}


def activate(path: str) -> None:
    """Make the packages of a virtual environment importable, in place of the last one's.

    Raises:
        InvalidVenv: the folder is no virtual environment of this version of Python.
    """
    global _active
    folders = _site_folders(path)
    if _active is not None and _active.path == path:
        return
    deactivate()
    _active = Activation(path, folders)
    for name, module in _set_aside.pop(path, {}).items():
        sys.modules.setdefault(name, module)


def deactivate() -> None:
    """Take all away that the environment has brought, its imported modules too."""
    global _active
    if _active is not None:
        _set_aside[_active.path] = _active.undo()
        _active = None


def add_path(path: str) -> None:
    """Put a folder at the front of ``sys.path``, with what its ``.pth`` files name."""
    if path not in sys.path:
        before = list(sys.path)
        entries = _add_site_folders([path])
        sys.path[:] = entries + before
        _added.update(entries)
    _added.add(path)


def info() -> "Dict[str, Any]":
    return {
        "active": _active is not None,
        "venv_path": None if _active is None else _active.path,
        "site_packages": None if _active is None else _active.folders[0],
        "sys_path": [entry for entry in sys.path if isinstance(entry, str)],
    }


def _site_folders(path: str) -> "list[str]":
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if not any(os.path.exists(os.path.join(path, *mark)) for mark in _MARKS):
        raise InvalidVenv(f"{path} is no virtual environment")
    base = {"base": path, "platbase": path}
    scheme = "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix"
    paths = [sysconfig.get_path(kind, scheme, base) for kind in ("purelib", "platlib")]
    folders = [folder for folder in dict.fromkeys(paths) if os.path.isdir(folder)]
    if not folders:
        raise InvalidVenv(f"{path} has no packages for Python {version}: {paths[0]} is missing")
    return folders


_MARKS = (("pyvenv.cfg",), ("bin", "python"))


def _add_site_folders(folders: "list[str]") -> "list[str]":
    """Gives the entries of ``sys.path`` that are new."""
    before = list(sys.path)
    for folder in folders:
        site.addsitedir(folder)  # runs its .pth files
    importlib.invalidate_caches()
    return [entry for entry in sys.path if entry not in before]


def _new(now: "list[Any]", before: "list[Any]") -> "list[Any]":
    return [one for one in now if not any(one is other for other in before)]


def _is_site_folder(entry: str) -> bool:
    return os.path.basename(entry) in ("site-packages", "dist-packages")


def _is_below(module: ModuleType, folders: "tuple[str, ...]") -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and file.startswith(folders)


def _found(name: str, module: ModuleType) -> bool:
    """Would an import find it where it was found?"""
    spec = getattr(module, "__spec__", None)
    if spec is None:  # made by hand
        return True
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        found = find and find(name, None)
        if found is not None:
            return bool(found.origin == spec.origin)
    return False
