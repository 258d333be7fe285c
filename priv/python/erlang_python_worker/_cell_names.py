"""Which names a notebook's cell takes from Elixir, and which it gives back.

Theory of operation. The statements of a cell are walked in the order in which they run, with the
set of names that are certainly assigned by then. A name that is read outside of that set may come
from Elixir. What runs later or not at all (functions, branches, loops) is taken at its worst: what
it reads counts as read, what it assigns as not yet assigned. To be wrong on this side only
costs the way of a value that was not needed.
"""

import ast
import builtins
import threading
import warnings
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Optional, Union

from erlang_python_worker._hints import hint
from erlang_python_worker._sources import program

_BUILTINS = frozenset(dir(builtins))

Function = Union[ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda]
Comprehension = Union[ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp]
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (*_FUNCTIONS, ast.ClassDef)


# Two threads that change the filters of warnings at once would leave them changed.
_filters = threading.Lock()


@lru_cache(maxsize=256)
def analyse(code: str, file: str, line: int) -> "list[Any]":
    """The names of a cell.

    Args:
        code: its text.
        file: what it stands in.
        line: the line of the file on which it begins, from 1.

    Returns:
        ``["ok", read, assigned, certain]``: names that may be read before the cell has assigned
        them; variables that it assigns at its top level; those of them that it assigns
        whichever way it runs. Or, for code that can't be compiled, ``["error", type, message,
        line, text, column, hint]``; the last four are ``None`` where there is nothing to say.
    """
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are shown when the cell runs
        try:
            program("run", code, file, line)
        except SyntaxError as error:
            place = error.lineno, error.text, error.offset
            return ["error", type(error).__name__, error.msg, *place, hint(error)]
        except (ValueError, RecursionError, MemoryError, OverflowError) as error:
            return ["error", type(error).__name__, str(error), None, None, None, None]
        names = _Cell()
        names.run(ast.parse(code).body)
    return ["ok", *map(sorted, names.result())]


class _Cell(ast.NodeVisitor):
    """Walks the top level of a cell."""

    def __init__(self) -> None:
        self.read: "set[str]" = set()
        self.read_later: "set[str]" = set()  # by functions
        self.assigned: "set[str]" = set()
        self.certain: "set[str]" = set()  # at this point
        self.defined: "set[str]" = set()  # by import, def and class

    def result(self) -> "tuple[set[str], set[str], set[str]]":
        # Functions may call each other in any order.
        read = self.read | (self.read_later - self.defined)
        assigned = self.assigned - self.defined
        return read, assigned, self.certain & assigned

    def run(self, body: "Iterable[ast.AST]") -> None:
        for node in body:
            self.visit(node)

    def _maybe(self, *parts: "Iterable[ast.AST]") -> "list[set[str]]":
        """Each of these may run, or not; what each has assigned at its end."""
        before = self.certain
        ends = []
        for part in parts:
            self.certain = set(before)
            self.run(part)
            ends.append(self.certain)
        self.certain = set(before)
        return ends

    def _load(self, name: str) -> None:
        if name not in self.certain:
            self.read.add(name)

    def _store(self, name: str) -> None:
        self.assigned.add(name)
        self.certain.add(name)

    def _define(self, name: str) -> None:
        self.defined.add(name)
        self.certain.add(name)

    def _take(self, inner: "_Inner", later: bool = False) -> None:
        for name in inner.read:
            if name not in self.certain:
                (self.read_later if later else self.read).add(name)
        self.assigned |= inner.assigned

    # Expressions

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._load(node.id)
        elif isinstance(node.ctx, ast.Store):
            self._store(node.id)
        else:
            self._load(node.id)
            self.certain.discard(node.id)

    def visit_Call(self, node: ast.Call) -> None:
        # `list(x)` means Python's, whatever is called so in Elixir.
        if not (isinstance(node.func, ast.Name) and node.func.id in _BUILTINS):
            self.visit(node.func)
        self.run(node.args)
        self.run(node.keywords)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        # It may stand where it is not reached: `a and (b := c)`.
        self.visit(node.value)
        self.assigned.add(node.target.id)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node)

    def _comprehension(self, node: Comprehension) -> None:
        self.visit(node.generators[0].iter)
        inner = _Inner(frozenset())
        inner.comprehension(node)
        self._take(inner)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    # Statements

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        self.run(node.targets)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._load(node.target.id)
        self.visit(node.value)
        self.visit(node.target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.annotation)
        if node.value is not None:
            self.visit(node.value)
            self.visit(node.target)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        first, second = self._maybe(node.body, node.orelse)
        self.certain = first & second

    def _loop(self, node: "Union[ast.For, ast.AsyncFor]") -> None:
        self.visit(node.iter)
        self._maybe([node.target, *node.body], node.orelse)

    visit_For = visit_AsyncFor = _loop

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._maybe(node.body, node.orelse)

    def _with(self, node: "Union[ast.With, ast.AsyncWith]") -> None:
        # Its context may swallow what the body raises.
        self._maybe([*node.items, *node.body])

    visit_With = visit_AsyncWith = _with

    def visit_withitem(self, node: ast.withitem) -> None:
        self.visit(node.context_expr)
        if node.optional_vars is not None:
            self.visit(node.optional_vars)

    def _try(self, node: Any) -> None:  # ast.TryStar is there from 3.11 on
        ends = self._maybe([*node.body, *node.orelse], *([handler] for handler in node.handlers))
        [final] = self._maybe(node.finalbody)
        self.certain |= set.intersection(*ends) | final

    visit_Try = visit_TryStar = _try

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            self.visit(node.type)
        if node.name:
            self._define(node.name)  # Python deletes it at the end
        self.run(node.body)
        self.certain.discard(node.name or "")

    def visit_Match(self, node: Any) -> None:
        self.visit(node.subject)
        self._maybe(*([case] for case in node.cases))

    def _pattern(self, node: Any) -> None:
        self.generic_visit(node)
        name = node.rest if hasattr(node, "rest") else node.name
        if name is not None:
            self._store(name)

    visit_MatchAs = visit_MatchStar = visit_MatchMapping = _pattern

    def _import(self, node: "Union[ast.Import, ast.ImportFrom]") -> None:
        for alias in node.names:
            self._define(alias.asname or alias.name.split(".")[0])

    visit_Import = visit_ImportFrom = _import

    def visit_FunctionDef(self, node: "Union[ast.FunctionDef, ast.AsyncFunctionDef]") -> None:
        self.run(node.decorator_list)
        self._function(node)
        self._define(node.name)

    visit_AsyncFunctionDef = visit_FunctionDef

    def _function(self, node: Function) -> None:
        self.run(_outside(node))
        inner = _Inner(frozenset())
        inner.function(node)
        self._take(inner, later=True)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.run([*node.decorator_list, *node.bases, *node.keywords])
        # What it has assigned for itself counts as read too, if it reads it.
        inner = _Inner(frozenset())
        inner.run(node.body)
        inner.read.discard(node.name)
        self._take(inner)
        self._define(node.name)

    def visit_TypeAlias(self, node: Any) -> None:
        self._define(node.name.id)


class _Inner(ast.NodeVisitor):
    """What the code of an inner scope takes from the cell, in whatever order it runs.

    Args:
        bound: names of the scopes around it.
    """

    def __init__(self, bound: "frozenset[str]") -> None:
        self.bound = bound
        self.read: "set[str]" = set()
        self.assigned: "set[str]" = set()

    def run(self, body: "Iterable[ast.AST]") -> None:
        for node in body:
            self.visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and node.id not in self.bound:
            self.read.add(node.id)

    def visit_Call(self, node: ast.Call) -> None:
        if not (isinstance(node.func, ast.Name) and node.func.id in _BUILTINS):
            self.visit(node.func)
        self.run(node.args)
        self.run(node.keywords)

    def _scope(self, node: Function) -> None:
        self.run([*getattr(node, "decorator_list", ()), *_outside(node)])
        self.function(node)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _scope

    def function(self, node: Function) -> None:
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        names = _Bindings()
        names.run(body)
        own = (names.stored | {one.arg for one in _arguments(node)}) - names.declared
        inner = _Inner((self.bound | own) - names.of_cell)
        inner.run(body)
        self.read |= inner.read - {getattr(node, "name", None)}
        self.assigned |= inner.assigned | (names.stored & names.of_cell)
        # `n += 1` reads too.
        self.read |= names.stored & names.of_cell

    def _comprehension(self, node: Comprehension) -> None:
        self.visit(node.generators[0].iter)
        self.comprehension(node)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def comprehension(self, node: Comprehension) -> None:
        """All of it but where its first items come from, which belongs to the scope around."""
        names = _Bindings()
        names.run([generator.target for generator in node.generators])
        inner = _Inner(self.bound | names.stored)
        values = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        inner.run(values)
        for generator in node.generators:
            inner.run(generator.ifs)
        inner.run([generator.iter for generator in node.generators[1:]])
        self.read |= inner.read
        walrus = {n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr)}
        self.assigned |= inner.assigned | (walrus - self.bound)


class _Bindings(ast.NodeVisitor):
    """The names that a function binds in its own scope, and those that it declares."""

    def __init__(self) -> None:
        self.stored: "set[str]" = set()
        self.of_cell: "set[str]" = set()
        self.declared: "set[str]" = set()

    def run(self, body: "Iterable[ast.AST]") -> None:
        for node in body:
            self.visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        # `except E as name`, patterns.
        name: "Optional[str]" = getattr(node, "name", None) or getattr(node, "rest", None)
        if isinstance(name, str):
            self.stored.add(name)
        if isinstance(node, _COMPREHENSIONS):
            inner = (n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr))
            self.stored.update(inner)
        elif not isinstance(node, _SCOPES):
            super().generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.stored.add(node.id)

    def visit_Global(self, node: ast.Global) -> None:
        self.of_cell.update(node.names)
        self.declared.update(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.declared.update(node.names)

    def visit_alias(self, node: ast.alias) -> None:
        self.stored.add(node.asname or node.name.split(".")[0])


def _outside(node: Function) -> "list[ast.AST]":
    """What of a function runs where it is defined: defaults, annotations."""
    arguments = node.args
    parts: "list[ast.AST | None]" = [*arguments.defaults, *arguments.kw_defaults]
    parts += [one.annotation for one in _arguments(node)]
    parts.append(getattr(node, "returns", None))
    return [part for part in parts if part is not None]


def _arguments(node: Function) -> "list[ast.arg]":
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return every + [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
