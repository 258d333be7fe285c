"""How values look: MIME bundles, and what `erlang.display` does where nobody shows them."""

import base64
from pathlib import Path
from typing import Any

import pytest

from calling import FUN
from erlang_python_worker._display import bundle
from peer import RESULT, RUN, Peer

PNG = b"\x89PNG\r\n\x1a\n"


def shown(**methods: Any) -> Any:
    """An object whose methods give these values."""
    body = {name: (lambda self, value=value: value) for name, value in methods.items()}
    return type("Shown", (), {"__repr__": lambda self: "shown", **body})()


def test_plain_values_are_text() -> None:
    for value in (1, "a", [1], None, {"a": 1}):
        assert bundle(value) == {"text/plain": repr(value)}


def test_each_method_gives_its_form() -> None:
    value = shown(
        _repr_html_="<b>", _repr_markdown_="**", _repr_svg_="<svg>", _repr_latex_=("$x$", {"a": 1})
    )
    assert bundle(value) == {
        "text/plain": "shown",
        "text/html": "<b>",
        "text/markdown": "**",
        "image/svg+xml": "<svg>",
        "text/latex": "$x$",
    }


def test_a_mime_bundle_goes_before_the_methods() -> None:
    data = {
        "text/html": "<i>",
        "image/png": base64.b64encode(PNG).decode(),
        "application/json": {"a": 1},
    }
    value = shown(_repr_mimebundle_=(data, {}), _repr_html_="<b>", _repr_jpeg_=b"jpeg")
    assert bundle(value) == {"text/plain": "shown", "text/html": "<i>", "image/png": PNG}
    assert bundle(shown(_repr_mimebundle_=None)) == {"text/plain": "shown"}


def test_a_picture_is_drawn_once() -> None:
    assert bundle(shown(_repr_png_=bytearray(PNG), _repr_jpeg_=b"jpeg"))["image/png"] == PNG
    assert bundle(shown(_repr_png_=None, _repr_jpeg_=b"jpeg"))["image/jpeg"] == b"jpeg"


def test_a_form_that_fails_is_told_and_left_out(capsys: "pytest.CaptureFixture[str]") -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError("no repr")

        def _repr_html_(self) -> str:
            raise ValueError("no html")

        def _repr_markdown_(self) -> str:
            return "*"

    name = f"{__name__}.{Broken.__qualname__}"
    text = f"<{name} object, whose repr() failed>"
    assert bundle(Broken()) == {"text/plain": text, "text/markdown": "*"}
    told = capsys.readouterr().err
    assert "ValueError: no repr" in told
    assert "ValueError: no html" in told


def test_classes_and_makers_of_attributes_have_no_look() -> None:
    class Anything:
        def __getattr__(self, name: str) -> Any:
            return lambda: name

        def __repr__(self) -> str:
            return "anything"

    assert bundle(Anything()) == {"text/plain": "anything"}
    kind = type(shown(_repr_html_="<b>"))
    assert bundle(kind) == {"text/plain": repr(kind)}


def test_text_is_cut_and_can_be_encoded() -> None:
    long = bundle("x" * 100_000)["text/plain"]
    assert isinstance(long, str)
    assert len(long) < 65_000
    assert long.endswith("characters left out]")
    assert bundle(shown(_repr_html_="\ud800"))["text/html"] == "\\ud800"


def test_display_prints_outside_of_cells(worker: Peer) -> None:
    code = """import contextlib, io
with contextlib.redirect_stdout(io.StringIO()) as out: erlang.display(1, 'a')
out.getvalue()"""
    answer = worker.code(RUN, code)
    assert (answer.type, answer.body) == (RESULT, "1\n'a'\n")


def test_a_value_is_shown_while_a_thread_imports_matplotlib(worker: Peer, tmp_path: Path) -> None:
    # One that takes its time, and tells of it.
    folder = tmp_path / "matplotlib"
    folder.mkdir()
    gate = "import pathlib, time\nwhile not pathlib.Path(__file__).with_name('go').exists(): time.sleep(0.01)\n"
    (folder / "__init__.py").write_text("def use(backend): pass\n")
    (folder / "pyplot.py").write_text(gate)
    worker.value(f"import sys; sys.path.insert(0, {str(tmp_path)!r})")
    worker.value(
        "import threading, time\n"
        "thread = threading.Thread(target=__import__, args=('matplotlib.pyplot',)); thread.start()\n"
        "while 'matplotlib.pyplot' not in sys.modules: time.sleep(0.01)"
    )
    shown = worker.call(
        "erlang_python_worker._cells",
        "display",
        code="1",
        bindings=None,
        file=None,
        line=1,
        show=FUN,
    )
    (folder / "go").touch()
    worker.value("thread.join()")
    assert shown.type == RESULT, shown
