"""How a value looks: its forms by MIME type, as Jupyter's `_repr_*_` methods give them."""

import base64
import io
import sys
import traceback
from functools import partial
from typing import Any, Callable, Dict, Union

from erlang_python_worker._errors import clean
from erlang_python_worker._types import name

Forms = Dict[str, Union[str, bytes]]

# In the order of what a notebook would choose. Not all are asked for: a picture that is there as
# PNG is not drawn a second time.
_METHODS = (
    ("text/html", "_repr_html_"),
    ("text/markdown", "_repr_markdown_"),
    ("image/svg+xml", "_repr_svg_"),
    ("image/png", "_repr_png_"),
    ("image/jpeg", "_repr_jpeg_"),
    ("text/latex", "_repr_latex_"),
)
_PICTURES = ("image/svg+xml", "image/png", "image/jpeg")
_BINARY = ("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf")

# Characters; nobody reads more of a repr.
_MAX_TEXT = 64_000

FIGURE = "matplotlib.figure.Figure"
_PLOTLY = "plotly.basedatatypes.BaseFigure"


def bundle(value: Any) -> Forms:
    """All forms of a value; ``text/plain`` is always there."""
    return {"text/plain": text(value), **rich(value)}


def text(value: Any) -> str:
    try:
        shown = repr(value)
    except Exception:  # the user's own; it is printed, and must not take the value away
        _tell()
        shown = f"<{name(type(value))} object, whose repr() failed>"
    if len(shown) > _MAX_TEXT:
        shown = f"{shown[:_MAX_TEXT]}... [{len(shown) - _MAX_TEXT} characters left out]"
    return clean(shown)


def rich(value: Any) -> Forms:
    """The forms that are more than text; none for most values."""
    kind = type(value)
    if isinstance(value, type):
        return {}
    names = [name(base) for base in kind.__mro__]
    if FIGURE in names:
        return _attempt(lambda: _draw(value))
    forms: Forms = {}
    if hasattr(kind, "_repr_mimebundle_"):
        forms.update(_attempt(lambda: _mime_bundle(value)))
    if _PLOTLY in names:
        forms.update(_attempt(lambda: _plotly(value)))
    for mime, method in _METHODS:
        # On the class: an object whose attributes are made on demand has all of them.
        drawn = mime in _PICTURES and any(picture in forms for picture in _PICTURES)
        if mime not in forms and not drawn and hasattr(kind, method):
            forms.update(_attempt(partial(_by_method, value, mime, method)))
    return forms


def is_rich(kind: type) -> bool:
    """Have values of this type forms that are more than text?"""
    methods = ["_repr_mimebundle_", *(method for _mime, method in _METHODS)]
    names = {name(base) for base in kind.__mro__}
    return bool(names & {FIGURE, _PLOTLY}) or any(hasattr(kind, method) for method in methods)


def _attempt(make: "Callable[[], Forms]") -> Forms:
    """One form that can't be made must not take the others away."""
    try:
        return make()
    except Exception:  # printed, too
        _tell()
        return {}


def _tell() -> None:
    traceback.print_exc(file=sys.stderr)


def _by_method(value: Any, mime: str, method: str) -> Forms:
    return _form(mime, getattr(value, method)())


def _form(mime: str, data: Any) -> Forms:
    if isinstance(data, tuple):  # with metadata
        data = data[0] if data else None
    if mime in _BINARY and isinstance(data, str):
        data = base64.b64decode(data)
    if isinstance(data, (bytes, bytearray, memoryview)):
        return {mime: bytes(data)}
    # What is not to be shown in this way is None. JSON has no place here.
    return {mime: clean(data)} if isinstance(data, str) else {}


def _mime_bundle(value: Any) -> Forms:
    data = value._repr_mimebundle_()
    if isinstance(data, tuple):
        data = data[0]
    forms: Forms = {}
    for mime, form in (data or {}).items():
        forms.update(_form(str(mime), form))
    return forms


def _plotly(figure: Any) -> Forms:
    return {"text/html": figure.to_html(full_html=False, include_plotlyjs="cdn")}


def _draw(figure: Any) -> Forms:
    import matplotlib

    svg = matplotlib.rcParams["savefig.format"] == "svg"
    file = io.BytesIO()
    figure.savefig(file, format="svg" if svg else "png", bbox_inches="tight")
    if svg:
        return {"image/svg+xml": file.getvalue().decode()}
    return {"image/png": file.getvalue()}
