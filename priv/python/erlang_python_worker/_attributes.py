"""Attributes by names with dots in them."""

import types
from importlib import import_module
from typing import Any


def attribute(target: Any, name: str) -> Any:
    """An attribute; with dots one of an attribute, or of a submodule."""
    return dotted(target, name) if "." in name else getattr(target, name)


def dotted(target: Any, name: str) -> Any:
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
