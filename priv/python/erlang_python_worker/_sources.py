"""Code given as text: compiled once, named, and readable in tracebacks."""

import linecache
import threading
from collections import OrderedDict
from io import StringIO
from types import CodeType
from typing import Optional, Tuple

# Kept for tracebacks and for repeated requests; the oldest leave first.
_MAX_SOURCES = 512
_MAX_CHARACTERS = 4_000_000
# Above it the line is not believed: each line before the code costs a byte.
_MAX_LINE = 1_000_000

# ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, without ast: code that awaits makes a coroutine.
_AWAIT = 0x2000

# What runs, then what gives the value.
Program = Tuple[Optional[CodeType], Optional[CodeType]]
Key = Tuple[str, str, Optional[str], int]


class Sources:
    def __init__(self) -> None:
        self._programs: "OrderedDict[Key, tuple[str, Program | None]]" = OrderedDict()
        self._characters = 0
        self._lock = threading.Lock()
        self._numbers = {"eval": 0, "exec": 0, "run": 0}

    def compile(self, kind: str, text: str, file: "str | None", line: int) -> Program:
        """Compile text.

        Args:
            kind: ``eval`` (an expression), ``exec`` (statements) or ``run`` (statements, of
                which the last is the value if it is an expression).
            file: where the text stands; without it, it gets a name such as ``<eval-3>``.
            line: the line of the file on which the text begins, from 1.
        """
        key = (kind, text, file, line)
        with self._lock:
            known = self._find(key)
            if known is not None:
                return known
            name = file or self._register(kind, text)
        made = None
        try:
            # Without the lock: a warning, or a destructor, may run code that comes here again.
            made = program(kind, text, name, line if file else 1)
        finally:
            # A SyntaxError shows its line too, so the text stays readable.
            with self._lock:
                faster = self._find(key)  # another thread's
                if faster is None:
                    self._keep(key, name, made)
                elif file is None:
                    linecache.cache.pop(name, None)
        return made if faster is None else faster

    def _find(self, key: Key) -> "Program | None":
        known = self._programs.get(key)
        if known is None or known[1] is None:
            return None
        self._programs.move_to_end(key)
        return known[1]

    def _register(self, kind: str, text: str) -> str:
        self._numbers[kind] += 1
        name = f"<{kind}-{self._numbers[kind]}>"
        # No mtime: linecache does not look for such a file.
        # Not `splitlines`, which ends lines where the compiler does not, at form feeds say.
        lines = StringIO(text, newline=None).readlines()
        linecache.cache[name] = (len(text), None, lines, name)
        return name

    def _keep(self, key: Key, name: str, program: "Program | None") -> None:
        forgotten = self._programs.pop(key, None)  # a text that did not compile before
        if forgotten is not None:
            self._drop(key, forgotten[0])
        self._programs[key] = (name, program)
        self._characters += len(key[1])
        while len(self._programs) > _MAX_SOURCES or (
            self._characters > _MAX_CHARACTERS and len(self._programs) > 1
        ):
            oldest, (old_name, _) = self._programs.popitem(last=False)
            self._drop(oldest, old_name)

    def _drop(self, key: Key, name: str) -> None:
        self._characters -= len(key[1])
        if key[2] is None:
            linecache.cache.pop(name, None)


def _expression(source: str, name: str) -> CodeType:
    try:
        code: CodeType = compile(source, name, "eval", _AWAIT, dont_inherit=True)
        return code
    except SyntaxError as error:
        if _is_statements(source):
            error.msg = (
                f"{error.msg}: this is no expression, exec takes statements (ErlangPython.run too)"
            )
        raise


def _is_statements(source: str) -> bool:
    try:
        compile(source, "", "exec", _AWAIT, dont_inherit=True)
    except Exception:  # not only SyntaxError: null bytes and deep nesting have others
        return False
    return True


def program(kind: str, text: str, name: str, line: int) -> Program:
    """Compile text under a name, as `Sources.compile` does, and keep nothing of it."""
    if kind == "eval":
        # As eval() does; compile() would call it an unexpected indent.
        text = text.lstrip(" \t")
    # Empty lines put every line number right, those of a SyntaxError too.
    source = "\n" * (line - 1 if line <= _MAX_LINE else 0) + text
    if kind == "eval":
        return None, _expression(source, name)
    if kind == "exec":
        return compile(source, name, "exec", _AWAIT, dont_inherit=True), None
    import ast  # 5 ms of a worker's start, and many workers never need it

    tree = ast.parse(source, name)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr):
        return compile(tree, name, "exec", _AWAIT, dont_inherit=True), None
    tree.body.pop()
    value = compile(ast.Expression(last.value), name, "eval", _AWAIT, dont_inherit=True)
    return compile(tree, name, "exec", _AWAIT, dont_inherit=True), value
