"""Loads changed code of modules anew, as Elixir asks (`ErlangPython.reload/2`)."""

import ast
import importlib
import linecache
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import SourceFileLoader
from importlib.util import cache_from_source, find_spec, resolve_name
from types import ModuleType
from typing import Any, Dict

# Loaded a second time they would know nothing of the connection to the BEAM.
_OWN = ("erlang", "erlang_python_worker")


def reload(name: str, deep: bool) -> None:
    """Load a module anew, if it is loaded at all; with ``deep`` its submodules before it.

    Submodules whose files are gone are forgotten. All or nothing: if one can't be loaded, all are
    what they were.

    Raises:
        ModuleNotFoundError: there is no module of this name.
        ValueError: it is one of those by which the worker itself runs.
    """
    if name.partition(".")[0] in _OWN:
        raise ValueError(f"{name!r} is of the worker itself: only a restart loads it anew")
    if name not in sys.modules:
        _check_exists(name)
        return
    prefix = name + "."
    modules = sys.modules.copy()  # other threads may import meanwhile
    names = [n for n in modules if deep and n.startswith(prefix)]
    gone = [n for n in names if _is_gone(modules[n])]
    names = [n for n in names if n not in gone] + [name]
    with _forgotten(gone):
        load({n: module for n in names if isinstance(module := modules[n], ModuleType)})


def _is_gone(module: ModuleType) -> bool:
    # Others, such as one in a zip file, have names of files that are none.
    if not isinstance(getattr(module, "__loader__", None), SourceFileLoader):
        return False
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and not os.path.exists(file)


@contextmanager
def _forgotten(names: "list[str]") -> "Iterator[None]":
    """Without these submodules, also for whoever imports them; on a failure they are back."""
    held: "list[tuple[dict[str, Any], str, Any]]" = []
    for name in sorted(names, reverse=True):  # parts before what they are parts of
        parent, _, leaf = name.rpartition(".")
        of_parent = vars(sys.modules[parent]) if parent in sys.modules else {}
        for table, key in ((sys.modules, name), (of_parent, leaf)):
            if key in table:
                held.append((table, key, table.pop(key)))
    try:
        yield
    except BaseException:
        for table, key, value in held:
            table[key] = value
        raise


def load(loaded: "Dict[str, ModuleType]") -> None:
    """Load these modules anew, each after those of them that it imports. All or nothing."""
    importlib.invalidate_caches()
    # Compiles each, so that a syntax error in any leaves all of them alone.
    imports = {n: set(_imports(module, loaded)) for n, module in loaded.items()}
    before = [(module, dict(vars(module))) for module in loaded.values()]
    try:
        for one in _in_order(imports):
            _load(loaded[one])
    except BaseException:
        for module, names_before in before:
            _restore(module, names_before)
        raise


def importers(names: "set[str]", among: "Dict[str, ModuleType]") -> "set[str]":
    """These modules, and those of the others that import one of them, however far away."""
    imports: "Dict[str, set[str]]" = {}
    for name, module in among.items():
        # One that has not changed since it was loaded can be read; the others are read by `load`.
        with suppress(OSError, SyntaxError, ValueError):
            imports[name] = set(_imports(module, among))
    found = set(names)
    new = found
    while new:
        new = {name for name, needed in imports.items() if name not in found and needed & new}
        found |= new
    return found


def _check_exists(name: str) -> None:
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        found = ".".join(parts[:count])
        if found not in sys.modules:
            if find_spec(found) is None:
                raise ModuleNotFoundError(f"No module named {found!r}", name=found)
            # The search for what is in it would import it.
            return


def _load(module: ModuleType) -> None:
    source = source_file(module)
    if source is not None:
        # Python takes compiled code for current if a source of the same size was saved in the same
        # second.
        # There may be none (OSError), or an interpreter that keeps none.
        with suppress(OSError, NotImplementedError):
            os.remove(cache_from_source(source))
        linecache.checkcache(source)
    importlib.reload(module)


def _restore(module: ModuleType, names: "Dict[str, Any]") -> None:
    # Never empty in between: other threads may run its functions.
    vars(module).update(names)
    for name in set(vars(module)) - set(names):
        del vars(module)[name]


def source_file(module: ModuleType) -> "str | None":
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) and file.endswith(".py") and os.path.exists(file) else None


def _imports(module: ModuleType, loaded: "Dict[str, ModuleType]") -> "Iterator[str]":
    """Which of the loaded modules a module's source names in its import statements."""
    file = source_file(module)
    if file is None:
        return
    with open(file, "rb") as source:
        tree = compile(source.read(), file, "exec", ast.PyCF_ONLY_AST)
    for node in ast.walk(tree):
        for name in _named(node, module):
            if name in loaded and name != module.__name__:
                yield name


def _named(node: ast.AST, module: ModuleType) -> "Iterator[str]":
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = "." * node.level + (node.module or "")
        if node.level:
            base = resolve_name(base, module.__package__ or module.__name__)
        parts = [f"{base}.{alias.name}" for alias in node.names]
        # `from . import part` needs the part, not the package that needs this module.
        found = [part for part in parts if part in sys.modules]
        yield from found
        if len(found) < len(parts):
            yield base


def _in_order(imports: "Dict[str, set[str]]") -> "list[str]":
    """Each after those that it imports; where they import each other, in the order of loading."""
    ordered: "list[str]" = []
    seen: "set[str]" = set()

    def visit(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        for needed in imports:
            if needed in imports[name]:
                visit(needed)
        ordered.append(name)

    for name in imports:
        visit(name)
    return ordered
