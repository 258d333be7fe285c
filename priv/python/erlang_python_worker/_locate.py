"""Says what in a value could not be encoded, and where: only asked after a failure."""

from typing import Any, Iterator

from erlang_python_worker._encoder import EncodeError, Encoder
from erlang_python_worker._types import find, name

_MAX_DEPTH = 512  # one more than msgpack's packer follows
_MAX_PATH = 1_000  # characters


def locate(encoder: Encoder, value: Any, error: Exception, path: str = "result") -> EncodeError:
    """Turn what stopped the encoder into an error with the path of the culprit."""
    seen: "list[Any]" = []
    while len(seen) < _MAX_DEPTH:
        if any(value is one for one in seen):
            return EncodeError(f"'{name(type(value))}' contains itself", _shorten(path))
        seen.append(value)
        for label, child in _children(encoder, value):
            failure = _failure(encoder, child)
            if failure is not None:
                path, value, error = path + label, child, failure
                break
        else:
            return EncodeError(_sentence(value, error), _shorten(path))
    return EncodeError(f"the value is nested deeper than {_MAX_DEPTH - 1} levels", _shorten(path))


def _failure(encoder: Encoder, value: Any) -> "Exception | None":
    try:
        encoder.encode(value)
    except Exception as error:
        return error
    return None


def _children(encoder: Encoder, value: Any) -> "Iterator[tuple[str, Any]]":
    if isinstance(value, dict):
        for key, item in list(value.items()):
            yield f".keys()[{_label(key)}]", key
            yield f"[{_label(key)}]", item
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(list(value)):
            yield f"[{index}]", item
    elif isinstance(value, (set, frozenset)):
        for item in list(value):
            yield f"{{{_label(item)}}}", item
    elif hasattr(type(value), "__dataclass_fields__"):
        for field in value.__dataclass_fields__:
            if hasattr(value, field):
                yield f".{field}", getattr(value, field)
    else:
        yield from _converted(encoder, value)


def _converted(encoder: Encoder, value: Any) -> "Iterator[tuple[str, Any]]":
    """The children of what a converter makes of a value."""
    try:
        made = find(type(value))(encoder, value)
    except Exception:  # the converter's own failure is what the caller is looking for: it is here
        return
    if type(made) is not type(value) and isinstance(made, (list, dict, tuple)):
        yield from _children(encoder, made)


def _label(key: Any) -> str:
    if type(key) is str:
        text = key.encode("utf-8", "backslashreplace").decode()
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    try:
        return repr(key)[:100]
    except Exception:  # a user's broken __repr__ must not hide the place
        return f"<{name(type(key))}>"


def _shorten(path: str) -> str:
    text = path.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _MAX_PATH else text[: _MAX_PATH - 3] + "..."


def _sentence(value: Any, error: Exception) -> str:
    if isinstance(error, EncodeError):
        return str(error)
    if isinstance(error, UnicodeEncodeError):
        return "cannot encode a str with a lone surrogate"
    return f"cannot encode a value of type '{name(type(value))}': {error}"
