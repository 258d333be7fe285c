"""What the four kinds of request do."""

import sys
from collections import deque
from importlib import import_module
from types import CodeType, CoroutineType
from typing import Any, Callable, Optional

from erlang import _encoders
from erlang._request import Running
from erlang_python_worker._attributes import dotted
from erlang_python_worker._hints import is_no_module
from erlang_python_worker._kept import kept
from erlang_python_worker._litter import Litter
from erlang_python_worker._namespace import Namespace
from erlang_python_worker._protocol import (
    CALL,
    DROP_CONTEXT,
    EVAL,
    EXEC,
    RELEASE,
    RUN,
    ProtocolError,
)
from erlang_python_worker._requests import whole
from erlang_python_worker._sources import Sources
from erlang_python_worker._streams import Streams

# Contexts that are remembered as closed, for requests that were under way then.
_DROPPED_KEPT = 1_024
# The elements of a request that names its context, and of one that also says who gets its progress.
_WITH_MORE = (6, 7)


class ContextDropped(Exception):
    """A request of a context that has been closed."""


class Executor:
    """Runs requests, each in the namespace of its context, or else in that of the process.

    Args:
        namespace: that of the process.
        current: the request that the calling thread runs.
        outer: the one that the main thread has when that has ended.

    Attributes:
        by_type: message type to a function of the decoded body.
        litter: what closed contexts have left.
        streams: those that its requests have opened.
    """

    def __init__(
        self,
        namespace: Namespace,
        current: "Callable[[], Optional[Running]]",
        outer: "Callable[[], Optional[Running]]",
    ) -> None:
        self._process = namespace
        self._current = current
        self._outer = outer
        self._contexts: "dict[int, Namespace]" = {}
        self._dropped: "deque[int]" = deque(maxlen=_DROPPED_KEPT)
        self._sources = Sources()
        self.litter = Litter()
        self.streams = Streams()
        self.by_type: "dict[int, Callable[[Any], Any]]" = {
            CALL: self.call,
            EVAL: self._code("eval"),
            EXEC: self._code("exec"),
            RUN: self._code("run"),
            DROP_CONTEXT: self.drop_context,
            RELEASE: kept.release,
        }

    def _code(self, kind: str) -> "Callable[[Any], Any]":
        def run(body: Any) -> Any:
            return self.run(kind, body)

        def run_any(body: Any) -> Any:
            if type(body) is list and len(body) in _WITH_MORE:
                return self._with_more(run, body)
            return run(body)

        return run_any

    def _with_more(self, run: "Callable[[Any], Any]", body: "list[Any]") -> Any:
        """Run a request that says more than most do."""
        progress = body.pop() if len(body) == _WITH_MORE[-1] else None
        context = body.pop()
        running = self._current()
        if running is not None:
            running.progress = progress
        return run(body) if context is None else self._in_context(context, run, body)

    @whole
    def _in_context(self, context: Any, run: "Callable[[Any], Any]", body: Any) -> Any:
        if type(context) is not int:
            raise ProtocolError("a context is an integer")
        namespace = self._contexts.get(context)
        if namespace is None:
            # A request may overtake the news of the end, and must not find an empty namespace.
            if context in self._dropped:
                raise ContextDropped
            # Another thread may enter it first at this moment, or drop it.
            namespace = self._contexts.setdefault(context, Namespace(context))
            if context in self._dropped:
                self._contexts.pop(context, None)
                raise ContextDropped
        return self.within(namespace, run, body)

    @whole
    def within(self, context: Namespace, do: "Callable[..., Any]", *args: Any) -> Any:
        """Do a part of a request that belongs to this context."""
        self.enter(context)
        # For pickle and others that look for it; `namespace` does not depend on it.
        sys.modules["__main__"] = context.module
        try:
            return do(*args)
        finally:
            # Not what was there before: contexts whose requests overlap may end in any order.
            sys.modules["__main__"] = _namespace_of(self._outer(), self._process).module

    @property
    def context(self) -> "Optional[Namespace]":
        """The namespace of the context to which the request belongs that runs."""
        running = self._current()
        return None if running is None else running.namespace

    def enter(self, context: Namespace) -> None:
        """The request that runs belongs to this context."""
        running = self._current()
        if running is not None:
            running.namespace = context

    @property
    def namespace(self) -> Namespace:
        return _namespace_of(self._current(), self._process)

    def drop_context(self, body: Any) -> None:
        if type(body) is not list or len(body) != 1:
            raise ProtocolError("DROP_CONTEXT has one element")
        self._dropped.append(body[0])
        if self._contexts.pop(body[0], None) is not None:
            self.litter.add()
            _encoders.forget()  # its classes would keep all its names

    @whole
    def run(self, kind: str, body: Any) -> Any:
        code, bindings, file, line = _check_code(body)
        statements, expression = self._sources.compile(kind, code, file, line)
        namespace = self.namespace
        if statements is None:
            assert expression is not None
            return eval(expression, namespace.extended(bindings))
        if _awaits(statements) or (expression is not None and _awaits(expression)):
            return self._run_async(namespace, statements, expression, bindings)
        with namespace.bound(bindings) as names:
            exec(statements, names)
            if expression is None:
                return None
            if names is not namespace.globals:
                return eval(expression, names)
            # Names that the statements assigned hide bindings of the same name.
            left = {k: v for k, v in (bindings or {}).items() if _is(namespace, k, v)}
            return eval(expression, namespace.extended(left))

    async def _run_async(
        self,
        namespace: Namespace,
        statements: CodeType,
        expression: "CodeType | None",
        bindings: Any,
    ) -> Any:
        with namespace.copied(bindings) as names:
            running = eval(statements, names)
            if running is not None:
                await running
            if expression is None:
                return None
            value = eval(expression, names)
            return await value if type(value) is CoroutineType else value

    def call(self, body: Any) -> Any:
        if type(body) is not list or len(body) != 5:
            if type(body) is list and len(body) in _WITH_MORE:
                return self._with_more(self.call, body)
            raise ProtocolError("CALL has five elements, a context and who gets its progress")
        module, name, args, kwargs, _face = body
        if type(name) is not str or type(args) is not list:
            raise ProtocolError("CALL has a str and an array after the module")
        # Looked up each time: a reload or a patched attribute counts at once.
        target: Any
        if type(module) is not str:
            target = _object(module)
        elif module == "__main__":
            target = self.namespace.module
        else:
            target = sys.modules.get(module)
            # What another thread is still importing has to be waited for.
            if target is None or getattr(getattr(target, "__spec__", None), "_initializing", False):
                target = _imported(module)
        function = dotted(target, name) if "." in name else getattr(target, name)
        return function(*args, **kwargs) if kwargs else function(*args)

    def preload(self, kind: str, text: str) -> None:
        if kind == "module":
            _imported(text)
        elif kind == "code":
            self.run("exec", [text, None, None, 1, 0])
        else:
            raise ProtocolError(f"preload of unknown kind {kind!r}")

    def replay(self, kind: int, body: Any) -> None:
        """Run a request of which only the effects count."""
        value = self.by_type[kind](body)
        if type(value) is CoroutineType:
            import asyncio

            asyncio.run(value)


@whole
def _namespace_of(running: "Optional[Running]", otherwise: Namespace) -> Namespace:
    """Of the context to which a request belongs, if it does to one."""
    namespace: "Optional[Namespace]" = None if running is None else running.namespace
    return otherwise if namespace is None else namespace


# Set by the worker.
_serving: "Optional[Executor]" = None


def serving() -> Executor:
    """The executor of this process, for code of ours that a `CALL` has called."""
    assert _serving is not None
    return _serving


# inspect.CO_COROUTINE, without inspect.
_CO_COROUTINE = 0x80


def _awaits(code: CodeType) -> bool:
    return bool(code.co_flags & _CO_COROUTINE)


def _is(namespace: Namespace, name: str, value: Any) -> bool:
    return name in namespace.globals and namespace.globals[name] is value


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if not is_no_module(name) or not f"{name}.".startswith(f"{error.name}."):
            raise
        # Python would tell of its part before the first dot alone.
        raise ModuleNotFoundError(f"No module named {name!r}", name=name) from None


def _object(module: Any) -> Any:
    if type(module) is not list or len(module) != 1:
        raise ProtocolError("CALL has a str first, or an array of the object")
    return module[0]


def _check_code(body: Any) -> "tuple[str, Any, str | None, int]":
    if type(body) is not list or len(body) != 5:
        raise ProtocolError("EVAL, EXEC and RUN have five elements")
    code, bindings, file, line, _face = body
    if type(code) is not str or not (file is None or type(file) is str):
        raise ProtocolError("code and file are str")
    if not (bindings is None or type(bindings) is dict) or type(line) is not int or line < 1:
        raise ProtocolError("bindings are a map, the line is an integer from 1")
    return code, bindings, file, line
