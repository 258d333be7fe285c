"""What the four kinds of request do."""

import sys
import types
from importlib import import_module
from types import CodeType, CoroutineType
from typing import Any, Callable

from erlang_python_worker._namespace import Namespace
from erlang_python_worker._protocol import CALL, EVAL, EXEC, RUN, ProtocolError
from erlang_python_worker._sources import Sources
from erlang_python_worker._streams import Streams


class Executor:
    """Runs requests in one namespace.

    Attributes:
        by_type: message type to a function of the decoded body.
        streams: those that its requests have opened.
    """

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._sources = Sources()
        self.streams = Streams()
        self.by_type: "dict[int, Callable[[Any], Any]]" = {
            CALL: call,
            EVAL: lambda body: self.run("eval", body),
            EXEC: lambda body: self.run("exec", body),
            RUN: lambda body: self.run("run", body),
        }

    def run(self, kind: str, body: Any) -> Any:
        code, bindings, file, line = _check_code(body)
        statements, expression = self._sources.compile(kind, code, file, line)
        if statements is None:
            assert expression is not None
            return eval(expression, self._namespace.extended(bindings))
        if _awaits(statements) or (expression is not None and _awaits(expression)):
            return self._run_async(statements, expression, bindings)
        with self._namespace.bound(bindings):
            exec(statements, self._namespace.globals)
            if expression is None:
                return None
            # Names that the statements assigned hide bindings of the same name.
            left = {k: v for k, v in (bindings or {}).items() if self._is(k, v)}
            return eval(expression, self._namespace.extended(left))

    async def _run_async(
        self, statements: CodeType, expression: "CodeType | None", bindings: Any
    ) -> Any:
        # Many of these run at once: bindings must not meet in one namespace.
        names = self._namespace.globals
        own = self._namespace.extended(bindings)
        before = dict(own) if bindings else own
        value = None
        try:
            running = eval(statements, own)
            if running is not None:
                await running
            if expression is not None:
                value = eval(expression, own)
                if type(value) is CoroutineType:
                    value = await value
        finally:
            names.update({k: v for k, v in own.items() if k not in before or before[k] is not v})
        return value

    def _is(self, name: str, value: Any) -> bool:
        return name in self._namespace.globals and self._namespace.globals[name] is value

    def preload(self, kind: str, text: str) -> None:
        if kind == "module":
            import_module(text)
        elif kind == "code":
            self.run("exec", [text, None, None, 1, 0])
        else:
            raise ProtocolError(f"preload of unknown kind {kind!r}")


# inspect.CO_COROUTINE, without inspect.
_CO_COROUTINE = 0x80


def _awaits(code: CodeType) -> bool:
    return bool(code.co_flags & _CO_COROUTINE)


def call(body: Any) -> Any:
    if type(body) is not list or len(body) != 5:
        raise ProtocolError("CALL has five elements")
    module, name, args, kwargs, _face = body
    if type(module) is not str or type(name) is not str or type(args) is not list:
        raise ProtocolError("CALL has two str and an array first")
    # Looked up each time: a reload or a patched attribute counts at once.
    target = sys.modules.get(module) or import_module(module)
    function = _dotted(target, name) if "." in name else getattr(target, name)
    return function(*args, **kwargs) if kwargs else function(*args)


def _dotted(target: Any, name: str) -> Any:
    for part in name.split("."):
        try:
            target = getattr(target, part)
        except AttributeError:
            if not isinstance(target, types.ModuleType):
                raise
            target = _submodule(target, part)
    return target


def _submodule(module: types.ModuleType, part: str) -> Any:
    name = f"{module.__name__}.{part}"
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in (name, module.__name__):
            raise  # the submodule is there, but something that it imports is not
        return getattr(module, part)  # Python's own words


def _check_code(body: Any) -> "tuple[str, Any, str | None, int]":
    if type(body) is not list or len(body) != 5:
        raise ProtocolError("EVAL, EXEC and RUN have five elements")
    code, bindings, file, line, _face = body
    if type(code) is not str or not (file is None or type(file) is str):
        raise ProtocolError("code and file are str")
    if not (bindings is None or type(bindings) is dict) or type(line) is not int or line < 1:
        raise ProtocolError("bindings are a map, the line is an integer from 1")
    return code, bindings, file, line
