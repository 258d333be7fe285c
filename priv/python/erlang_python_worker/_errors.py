"""Exceptions as data: docs/protocol.md, "Marked arrays", `exception`."""

import importlib
import os
import traceback
from itertools import dropwhile
from types import TracebackType
from typing import Any

import erlang
from erlang_python_worker._encoder import MARKS
from erlang_python_worker._hints import hint
from erlang_python_worker._protocol import EXCEPTION
from erlang_python_worker._types import name

# Bounds of one error: a message may hold a whole file, a recursion a thousand frames.
_MAX_MESSAGE = 64_000  # characters
_MAX_FORMATTED = 256_000
_MAX_FRAMES = 256
# Of which the text is made; an exception that is raised again and again has ever more of them.
_MAX_TRACEBACK = 2_000
_MAX_CHAIN = 32
_MAX_NOTES = 64

_AST = os.path.join(os.path.dirname(os.__file__), "ast.py")
_MACHINERY = (_AST, importlib.__file__, "<frozen importlib")
_PRIV = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_OURS = (
    os.path.dirname(os.path.abspath(__file__)) + os.sep,
    os.path.dirname(os.path.abspath(erlang.__file__)) + os.sep,
    os.path.join(_PRIV, "erlport", ""),
)


def describe(error: BaseException, short: bool = False) -> "list[Any]":
    """An exception with its causes as a marked array.

    Args:
        short: only what is needed to know it again, for a message limit that the whole
            would break.

    Whatever the exception's own code raises meanwhile, this gives a description, unless a
    request is to stop or has no frames left.
    """
    if short:
        return _bare(error, _shorten(_text(error), 1_000))
    chain: "list[tuple[BaseException, str | None]]" = []
    seen: "set[int]" = set()  # of ids: exceptions may have an __eq__, as dataclasses do
    link: "BaseException | None" = error
    while link is not None and len(chain) < _MAX_CHAIN and id(link) not in seen:
        seen.add(id(link))
        following, relation = _cause(link)
        chain.append((link, relation if following is not None else None))
        link = following
    described: Any = None
    for link, relation in reversed(chain):
        described = _describe_one(link, described, relation if described else None)
    assert described is not None
    return list(described)


def _cause(error: BaseException) -> "tuple[BaseException | None, str | None]":
    # The rule by which the traceback module prints the one, the other or none.
    cause = _attribute(error, "__cause__")
    if isinstance(cause, BaseException):
        return cause, "cause"
    context = _attribute(error, "__context__")
    if isinstance(context, BaseException) and not _attribute(error, "__suppress_context__"):
        return context, "context"
    return None, None


def _describe_one(error: BaseException, cause: Any, relation: "str | None") -> "list[Any]":
    # First: the traceback module swallows whatever a __str__ raises, an interrupt too.
    message, notes = _shorten(_text(error), _MAX_MESSAGE), _notes(error)
    trace = _bounded(_attribute(error, "__traceback__"))
    kind = _kind(error)
    try:
        report = traceback.TracebackException(type(error), error, trace)
        _hide_our_frames(report)
        formatted = "".join(report.format(chain=False))
        frames = shown_frames(report.stack)
    except Exception:  # an exception whose own attributes raise
        formatted, frames = _without_report(f"{kind}: {message}\n", trace)
    advice = _advice(error)
    if advice is not None:
        notes.append(clean(advice))
        formatted += f"{advice}\n"
    formatted = _shorten(formatted, _MAX_FORMATTED)
    return [MARKS[EXCEPTION], kind, message, frames, cause, relation, notes, formatted]


def _bare(error: BaseException, message: str) -> "list[Any]":
    kind = _kind(error)
    return [MARKS[EXCEPTION], kind, message, [], None, None, [], f"{kind}: {message}\n"]


def _kind(error: BaseException) -> str:
    try:
        return clean(name(type(error)))
    except Exception:  # of a metaclass that raises
        return "exception"


def _advice(error: BaseException) -> "str | None":
    try:
        return hint(error)
    except Exception:  # an exception whose own attributes raise
        return None


def _without_report(text: str, trace: "TracebackType | None") -> "tuple[str, list[Any]]":
    stack = traceback.extract_tb(trace)
    frames = shown_frames(stack)
    if frames:
        text = "Traceback (most recent call last):\n" + "".join(stack.format()) + text
    return text, frames


def _bounded(trace: Any) -> "TracebackType | None":
    """A traceback without its middle, if that is long."""
    nodes: "list[TracebackType]" = []
    while isinstance(trace, TracebackType):
        nodes.append(trace)
        trace = trace.tb_next
    if len(nodes) <= _MAX_TRACEBACK:
        return nodes[0] if nodes else None
    half = _MAX_TRACEBACK // 2
    shown = nodes[-half]
    for node in reversed(nodes[:half]):
        shown = TracebackType(shown, node.tb_frame, node.tb_lasti, node.tb_lineno)
    return shown


def shown_frames(stack: traceback.StackSummary) -> "list[list[Any]]":
    """The frames of users' code, as an error carries them."""
    _hide_ours(stack)
    return [_frame(frame) for frame in _middle_out(stack)]


def _hide_ours(stack: traceback.StackSummary) -> None:
    frames = [frame for frame in stack if not frame.filename.startswith(_OURS)]
    # What we called for the user: Python's import statement hides its own frames too.
    stack[:] = dropwhile(lambda frame: frame.filename.startswith(_MACHINERY), frames)


def users_part(trace: "TracebackType | None") -> "TracebackType | None":
    """A traceback from where it enters users' code."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS + _MACHINERY):
        trace = trace.tb_next
    return trace


def _hide_our_frames(report: traceback.TracebackException) -> None:
    _hide_ours(report.stack)
    for part in getattr(report, "exceptions", None) or ():  # of an exception group
        _hide_our_frames(part)


def _middle_out(stack: traceback.StackSummary) -> "list[traceback.FrameSummary]":
    if len(stack) <= _MAX_FRAMES:
        return list(stack)
    return stack[: _MAX_FRAMES // 2] + stack[-_MAX_FRAMES // 2 :]


def _frame(frame: traceback.FrameSummary) -> "list[Any]":
    code = frame.line or None
    return [
        clean(frame.filename),
        frame.lineno or 0,
        clean(frame.name),
        code and _shorten(code, 1_000),
    ]


def _notes(error: BaseException) -> "list[str]":
    notes = _attribute(error, "__notes__")
    if type(notes) not in (list, tuple):
        return []
    return [_shorten(_text(note), _MAX_MESSAGE) for note in notes[:_MAX_NOTES]]


def _attribute(error: BaseException, name: str) -> Any:
    try:
        return getattr(error, name, None)
    except Exception:  # a __getattr__ that raises KeyError, say
        return None


def _text(value: Any) -> str:
    try:
        return str.__str__(str(value))  # which may be of a subclass with methods of its own
    except erlang.Interrupted:
        raise
    except BaseException:  # the words of the traceback module
        return f"<{_sort(value)} str() failed>"


def _shorten(text: str, limit: int) -> str:
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}\n[{len(text) - limit} characters left out]\n{text[-half:]}"
    return clean(text)


def clean(text: str) -> str:
    """Text that UTF-8 can carry: a str of Python's may hold lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def _sort(value: Any) -> str:
    return "exception" if isinstance(value, BaseException) else "note"
