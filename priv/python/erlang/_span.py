"""Spans: named pieces of work, as parts of a trace."""

import functools
from time import time_ns
from typing import Any, Callable, Optional, Protocol, Tuple, TypeVar, cast

# More than these are left out.
_MOST_EVENTS = 128
_MOST_ATTRIBUTES = 128

Event = Tuple[str, int, "dict[str, Any]"]  # name, nanoseconds since 1970, attributes
_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Tracer(Protocol):
    def begin(self, name: str, attributes: "dict[str, Any]") -> Any: ...

    def enter(self, span: Any) -> None: ...

    def leave(self, span: Any) -> None: ...

    def end(self, opened: Any, span: "Span") -> None: ...


# Set by the worker; None in processes that are no workers.
_tracer: "Optional[_Tracer]" = None


class Span:
    """A named piece of work, as part of the trace of the request: ``with erlang.Span("load"):``.

    Elixir gets it when it ends, if tracing is on there. Where the environment has OpenTelemetry and
    the code has set that up, it is a span of OpenTelemetry too. In all other cases it does nothing.

    Args:
        name: what the work is called.
        attributes: facts about it. Numbers, booleans, text and lists of them are kept, anything
            else becomes text; 128 at most.

    Attributes:
        name: may be changed until the end.
        status: ``"unset"``, ``"ok"`` or ``"error"``; the last when an exception leaves the block.
        message: what went wrong.

    Spans may be opened in any thread and coroutine, and are used once. The span around one is that
    in which it is opened; in a thread, that in which the thread was started.
    """

    __slots__ = ("_opened", "_used", "attributes", "events", "message", "name", "status")

    def __init__(self, name: str, /, **attributes: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a span's name is a str, not {type(name).__name__}")
        self.name = name
        self.attributes: "dict[str, Any]" = dict(list(attributes.items())[:_MOST_ATTRIBUTES])
        self.events: "list[Event]" = []
        self.status = "unset"
        self.message: "Optional[str]" = None
        self._opened: Any = None
        self._used = False

    def set_attribute(self, name: str, value: Any) -> None:
        """Add a fact, or replace one."""
        if name in self.attributes or len(self.attributes) < _MOST_ATTRIBUTES:
            self.attributes[name] = value

    def add_event(self, name: str, /, **attributes: Any) -> None:
        """Note that something has happened now; 128 times at most."""
        if len(self.events) < _MOST_EVENTS:
            self.events.append((name, time_ns(), attributes))

    def set_status(self, status: str, message: "Optional[str]" = None) -> None:
        """Say how it went: ``"ok"``, ``"error"`` or ``"unset"``."""
        if status not in ("ok", "error", "unset"):
            raise ValueError(f"a status is 'ok', 'error' or 'unset', not {status!r}")
        self.status, self.message = status, message

    def record_exception(self, error: BaseException) -> None:
        """Note an exception as an event, and that the work has failed."""
        kind = type(error)
        name = kind.__qualname__
        if kind.__module__ not in ("builtins", "__main__"):
            name = f"{kind.__module__}.{name}"
        text = _text(error)
        self.add_event("exception", **{"exception.type": name, "exception.message": text})
        self.set_status("error", f"{name}: {text}" if text else name)

    @property
    def traceparent(self) -> "Optional[str]":
        """Its place in the trace as the W3C header, for calls to other services; ``None`` if it is
        not part of one.
        """
        traceparent: "Optional[str]" = (
            None if self._opened is None else self._opened.position.traceparent
        )
        return traceparent

    @property
    def tracestate(self) -> str:
        """The header that goes along with `traceparent`; empty if there is none."""
        tracestate: str = "" if self._opened is None else self._opened.position.state
        return tracestate

    def __enter__(self) -> "Span":
        self._begin()
        self._resume()
        return self

    def __exit__(self, _kind: Any, error: "BaseException | None", _traceback: Any) -> None:
        self._suspend()
        self._end(error)

    def __repr__(self) -> str:
        return f"<erlang.Span {self.name!r} {self.status}>"

    # In steps, for generators: they are left between two items.

    def _begin(self) -> None:
        if self._used:
            raise RuntimeError(f"the span {self.name!r} has been used: make one for each block")
        self._used = True
        if _tracer is not None:
            self._opened = _tracer.begin(self.name, self.attributes)

    def _resume(self) -> None:
        if self._opened is not None and _tracer is not None:
            _tracer.enter(self._opened)

    def _suspend(self) -> None:
        if self._opened is not None and _tracer is not None:
            _tracer.leave(self._opened)

    def _end(self, error: "BaseException | None") -> None:
        # A generator that is closed has not failed.
        if error is not None and not isinstance(error, GeneratorExit):
            self.record_exception(error)
        if self._opened is not None and _tracer is not None:
            _tracer.end(self._opened, self)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # the exception's own __str__; it must not hide the exception
        return ""


def trace(name: "Optional[str]" = None, /, **attributes: Any) -> "Callable[[_Function], _Function]":
    """Decorate a function so that each call of it is a `Span`.

    Args:
        name: of the spans; by default that of the function, with its module.
        attributes: of each span.

    For plain functions, coroutine functions, and generators of both kinds. The span of a generator
    lasts from its first item to its end, and is current only while the generator runs.
    """
    if name is not None and not isinstance(name, str):
        raise TypeError("write @erlang.trace(), with parentheses, or @erlang.trace('name')")

    def decorate(function: _Function) -> _Function:
        from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction

        module = getattr(function, "__module__", None)
        own = getattr(function, "__qualname__", repr(function))
        label = name or (f"{module}.{own}" if module not in (None, "__main__") else own)

        def span() -> Span:
            return Span(label, **attributes)

        if iscoroutinefunction(function):
            made = _of_coroutine(function, span)
        elif isasyncgenfunction(function):
            made = _of_async_generator(function, span)
        elif isgeneratorfunction(function):
            made = _of_generator(function, span)
        else:
            made = _of_function(function, span)
        return cast(_Function, functools.wraps(function)(made))

    return decorate


_Any = Callable[..., Any]


def _of_function(function: _Any, new_span: "Callable[[], Span]") -> _Any:
    def traced(*args: Any, **kwargs: Any) -> Any:
        with new_span():
            return function(*args, **kwargs)

    return traced


def _of_coroutine(function: _Any, new_span: "Callable[[], Span]") -> _Any:
    async def traced(*args: Any, **kwargs: Any) -> Any:
        with new_span():
            return await function(*args, **kwargs)

    return traced


def _of_generator(function: _Any, new_span: "Callable[[], Span]") -> _Any:
    def traced(*args: Any, **kwargs: Any) -> Any:
        span, failure = new_span(), None
        generator = function(*args, **kwargs)
        span._begin()
        try:
            step, value = generator.send, None
            while True:
                span._resume()
                try:
                    item = step(value)
                except StopIteration as stop:
                    return stop.value
                finally:
                    span._suspend()
                try:
                    value = yield item
                    step = generator.send
                except GeneratorExit:
                    span._resume()
                    try:
                        generator.close()
                    finally:
                        span._suspend()
                    raise
                except BaseException as thrown:
                    step, value = generator.throw, thrown
        except BaseException as error:
            failure = error
            raise
        finally:
            span._end(failure)
            failure = value = None  # they refer to this frame

    return traced


def _of_async_generator(function: _Any, new_span: "Callable[[], Span]") -> _Any:
    async def traced(*args: Any, **kwargs: Any) -> Any:
        span, failure = new_span(), None
        generator = function(*args, **kwargs)
        span._begin()
        try:
            step, value = generator.asend, None
            while True:
                span._resume()
                try:
                    item = await step(value)
                except StopAsyncIteration:
                    return
                finally:
                    span._suspend()
                try:
                    value = yield item
                    step = generator.asend
                except GeneratorExit:
                    span._resume()
                    try:
                        await generator.aclose()
                    finally:
                        span._suspend()
                    raise
                except BaseException as thrown:
                    step, value = generator.athrow, thrown
        except BaseException as error:
            failure = error
            raise
        finally:
            span._end(failure)
            failure = value = None  # they refer to this frame

    return traced
