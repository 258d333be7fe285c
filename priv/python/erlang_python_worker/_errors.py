"""Exceptions as data: docs/protocol.md, "Marked arrays", `exception`."""

import importlib
import os
import traceback
from itertools import dropwhile
from typing import Any

import erlang
from erlang_python_worker._hints import hint
from erlang_python_worker._protocol import EXCEPTION
from erlang_python_worker._types import MARKS, name

# Bounds of one error: a message may hold a whole file, a recursion a thousand frames.
_MAX_MESSAGE = 64_000  # characters
_MAX_FORMATTED = 256_000
_MAX_FRAMES = 256
_MAX_CHAIN = 32
_MAX_NOTES = 64

_AST = os.path.join(os.path.dirname(os.__file__), "ast.py")
_MACHINERY = (_AST, importlib.__file__, "<frozen importlib")
_OURS = (
    os.path.dirname(os.path.abspath(__file__)) + os.sep,
    os.path.dirname(os.path.abspath(erlang.__file__)) + os.sep,
    os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "erlport_path", ""),
)


def describe(error: BaseException, short: bool = False) -> "list[Any]":
    """An exception with its causes as a marked array.

    Args:
        short: only what is needed to know it again, for a message limit that the whole
            would break.
    """
    if short:
        message = _shorten(_text(error), 1_000)
        kind = name(type(error))
        return [MARKS[EXCEPTION], kind, message, [], None, None, [], f"{kind}: {message}\n"]
    chain: "list[tuple[BaseException, str | None]]" = []
    link: "BaseException | None" = error
    while link is not None and len(chain) < _MAX_CHAIN and link not in [e for e, _ in chain]:
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
    if error.__cause__ is not None:
        return error.__cause__, "cause"
    if error.__context__ is not None and not error.__suppress_context__:
        return error.__context__, "context"
    return None, None


def _describe_one(error: BaseException, cause: Any, relation: "str | None") -> "list[Any]":
    # First: the traceback module swallows whatever a __str__ raises, an interrupt too.
    message, notes = _shorten(_text(error), _MAX_MESSAGE), _notes(error)
    try:
        report = traceback.TracebackException(type(error), error, error.__traceback__)
        _hide_our_frames(report)
        formatted = "".join(report.format(chain=False))
        frames = shown_frames(report.stack)
    except Exception:  # an exception whose own attributes raise
        formatted, frames = f"{name(type(error))}: {message}\n", []
    advice = hint(error)
    if advice is not None:
        notes.append(clean(advice))
        formatted += f"{advice}\n"
    return [
        MARKS[EXCEPTION],
        clean(name(type(error))),
        message,
        frames,
        cause,
        relation,
        notes,
        _shorten(formatted, _MAX_FORMATTED),
    ]


def shown_frames(stack: traceback.StackSummary) -> "list[list[Any]]":
    """The frames of users' code, as an error carries them."""
    _hide_ours(stack)
    return [_frame(frame) for frame in _middle_out(stack)]


def _hide_ours(stack: traceback.StackSummary) -> None:
    frames = [frame for frame in stack if not frame.filename.startswith(_OURS)]
    # What we called for the user: Python's import statement hides its own frames too.
    stack[:] = dropwhile(lambda frame: frame.filename.startswith(_MACHINERY), frames)


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
    notes = getattr(error, "__notes__", None)
    if not isinstance(notes, (list, tuple)):
        return []
    return [_shorten(_text(note), _MAX_MESSAGE) for note in notes[:_MAX_NOTES]]


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # the words of the traceback module
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
