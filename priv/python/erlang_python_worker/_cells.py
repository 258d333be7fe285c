"""Runs a notebook's cell: variables in, variables out, and what it shows.

Theory of operation. The variables of a cell are Elixir's and Python's at once: each side has its
own copy, and a cell brings the two together. What Elixir has rebound since comes in with its new
value. What Elixir still has as it came, Python keeps as it is, for its own may be more than
what Elixir got: a `defaultdict`, an instance of a class, a list that a function has filled since.
Which case it is is told by a number that each value gets when it crosses, and that Elixir hands
back. What goes out is what the cell has assigned, and what has changed in place, which the
digest of its wire form tells.

Objects without a wire form stay. Elixir gets a number for them, good until the same cell
assigns the same name again.
"""

import itertools
import linecache
import os
import sys
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from types import CoroutineType
from typing import Any, Callable, NamedTuple, Optional

import erlang
from erlang._display import shown_by
from erlang_python_worker import _execute, _figures
from erlang_python_worker._display import bundle, rich, text
from erlang_python_worker._encoder import Encoder
from erlang_python_worker._namespace import Namespace
from erlang_python_worker._types import find, name, stays_in_cells

# Characters of the text by which an object is known in Elixir.
_MAX_TEXT = 200

# From anywhere, so that a number of a worker that has gone means nothing to the next.
_numbers = itertools.count(int.from_bytes(os.urandom(6), "big"))


class _Value(NamedTuple):
    number: int
    digest: "Optional[bytes]"  # of its wire form
    only_inward: Any = None  # itself, if it can come in, as an iterator does, but not go out

    def is_still(self, value: Any, digest: "Optional[bytes]") -> bool:
        return self.only_inward is value if digest is None else self.digest == digest


class _Object(NamedTuple):
    number: int
    value: Any


class _Variables:
    """What has crossed between a namespace and Elixir."""

    def __init__(self) -> None:
        self.values: "dict[str, _Value]" = {}
        # By the file of the cell and the name: what a cell assigns anew replaces what it had
        # assigned before.
        self.objects: "dict[tuple[str, str], _Object]" = {}

    def lacks(self, name: str, number: int) -> bool:
        known = self.values.get(name)
        return known is None or known.number != number

    def object(self, name: str, number: int) -> Any:
        for known in list(self.objects.values()):  # another cell may add to them
            if known.number == number:
                return known.value
        raise LookupError(
            f"the Python object that {name!r} stood for is not kept any more: "
            "run the cell again that made it"
        )


_VARIABLES: "weakref.WeakKeyDictionary[Namespace, _Variables]" = weakref.WeakKeyDictionary()


def run(
    *,
    code: str,
    file: str,
    line: int,
    values: "dict[str, Any]",
    kept: "dict[str, int]",
    objects: "dict[str, int]",
    assigns: "list[str]",
    show: erlang.Callable,
    limit: int,
) -> Any:
    """Run a cell.

    Args:
        code, file, line: its text, and where that stands.
        values: variables that come in.
        kept: variables that Elixir has as they were when they got this number.
        objects: variables that stand for objects, by the objects' numbers.
        assigns: those that may go out.
        show: takes a MIME bundle and shows it.
        limit: bytes that may go out.

    Returns:
        ``["missing", names]`` if some of ``kept`` are not what Elixir has: nothing was
        run. Else ``["done", value, variables, numbers]``: the value is ``["value", any]`` or
        ``["display", bundle]``, a variable is ``["value", any]`` or ``["object", number,
        type, text]``, and ``numbers`` is what the values that crossed are known by now.
    """
    executor = _execute.serving()
    namespace = executor.namespace
    variables = _VARIABLES.setdefault(namespace, _Variables())
    missing = [n for n, number in kept.items() if variables.lacks(n, number)]
    missing += [n for n in kept if n not in namespace.globals and n not in missing]
    if missing:
        return ["missing", missing]
    cell = _Cell(namespace, variables, file, assigns, limit)
    cell.take(values, kept, objects)
    return _shown(code, None, file, line, show, cell.end)


def display(*, code: str, bindings: Any, file: "str | None", line: int, show: Any) -> Any:
    """Run code as `RUN` does; gives the MIME bundle of its value."""
    return _shown(code, bindings, file or "<display>", line, show, _bundle_at_end)


def _bundle_at_end(value: Any) -> Any:
    made = bundle(value)
    _figures.show_open(without=value)
    return made


def _shown(
    code: str,
    bindings: Any,
    file: str,
    line: int,
    show: erlang.Callable,
    end: "Callable[[Any], Any]",
) -> Any:
    _register(code, file, line)
    _figures.prepare()
    with _showing(show):
        value = _execute.serving().run("run", [code, bindings, file, line, 0])
        if type(value) is not CoroutineType:
            return end(value)
    return _later(value, show, end)


async def _later(value: Any, show: erlang.Callable, end: "Callable[[Any], Any]") -> Any:
    with _showing(show):
        return end(await value)


@contextmanager
def _showing(show: erlang.Callable) -> "Iterator[None]":
    def give(value: Any) -> None:
        # What was printed before stands before it.
        sys.stdout.flush()
        erlang.call(show, bundle(value))

    with shown_by(give):
        try:
            yield
        except BaseException:
            _figures.close_open()
            raise


def _register(code: str, file: str, line: int) -> None:
    """Make the lines of a cell readable in tracebacks, beside those of others in its file."""
    if os.path.isfile(file):
        return
    known = linecache.cache.get(file, (0, None, [], file))
    lines = list(known[2]) if len(known) == 4 else []
    new = code.splitlines(True)
    lines += ["\n"] * (line - 1 + len(new) - len(lines))
    lines[line - 1 : line - 1 + len(new)] = new
    linecache.cache[file] = (len(lines), None, lines, file)


class _Cell:
    """The variables of one run of a cell."""

    def __init__(
        self,
        namespace: Namespace,
        variables: _Variables,
        file: str,
        assigns: "Iterable[str]",
        limit: int,
    ) -> None:
        self._names = namespace.globals
        self._variables = variables
        self._file = file
        self._assigns = list(assigns)
        self._came_in: "list[str]" = []
        self._objects: "dict[str, Any]" = {}
        self._left = limit
        # A user's encoder may run cells itself.
        self._encoder = Encoder(find)

    def take(
        self, values: "dict[str, Any]", kept: "Iterable[str]", objects: "dict[str, int]"
    ) -> None:
        known = self._variables
        self._objects = {n: known.object(n, number) for n, number in objects.items()}
        for one, value in values.items():
            wire = self._encode(value)
            known.values[one] = (
                _Value(next(_numbers), wire[0]) if wire else _Value(next(_numbers), None, value)
            )
        for one in objects:
            known.values.pop(one, None)
        self._names.update(values)
        self._names.update(self._objects)
        self._came_in = [*values, *kept]

    def end(self, value: Any) -> Any:
        """The answer."""
        shown = self._value(value)
        out: "dict[str, Any]" = {}
        for one in dict.fromkeys([*self._assigns, *self._came_in, *self._objects]):
            if one in self._names:
                self._leave(one, self._names[one], out)
        _figures.show_open(without=value)
        crossed = [*self._came_in, *out]
        numbers = {
            one: self._variables.values[one].number
            for one in crossed
            if one in self._variables.values
        }
        return ["done", shown, out, numbers]

    def _value(self, value: Any) -> "list[Any]":
        forms = rich(value)
        if not forms:
            wire = self._encode(value)
            if wire is not None and wire[1] <= self._left:
                self._left -= wire[1]
                return ["value", value]
        return ["display", {"text/plain": text(value), **forms}]

    def _leave(self, one: str, value: Any, out: "dict[str, Any]") -> None:
        digest, size = self._encode(value) or (None, 0)
        known = self._variables.values.get(one) if one in self._came_in else None
        if known is not None and known.is_still(value, digest):
            return
        if digest is None or size > self._left:
            self._leave_object(one, value, out)
        else:
            self._left -= size
            self._variables.values[one] = _Value(next(_numbers), digest)
            out[one] = ["value", value]

    def _leave_object(self, one: str, value: Any, out: "dict[str, Any]") -> None:
        if one in self._objects and self._objects[one] is value:
            return
        self._variables.values.pop(one, None)
        key = (self._file, one)
        known = self._variables.objects.get(key)
        if known is None or known.value is not value:
            known = self._variables.objects[key] = _Object(next(_numbers), value)
        shown = text(value)
        if len(shown) > _MAX_TEXT:
            shown = shown[:_MAX_TEXT] + "..."
        out[one] = ["object", known.number, name(type(value)), shown]

    def _encode(self, value: Any) -> "Optional[tuple[bytes, int]]":
        """The digest and the size of a value's wire form, if it has one."""
        try:
            if stays_in_cells(type(value)):
                return None
            body, buffers = self._encoder.encode(value)
        except Exception:
            return None  # of any type; what it means is that the value stays here
        digest = blake2b(body, digest_size=16)
        size = len(body)
        for buffer in buffers:
            view = memoryview(buffer)
            digest.update(view)
            size += view.nbytes
        return digest.digest(), size
