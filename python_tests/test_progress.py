"""How bars look; what reaches the caller is tested with the BEAM."""

from __future__ import annotations

import decimal

import numpy
import pytest

import erlang
from erlang._progress import bar, message


@pytest.mark.parametrize(
    ("done", "total", "share"),
    [(0, 4, "  0%"), (1, 4, " 25%"), (0.5, 1.0, " 50%"), (4, 4, "100%"), (9, 4, "100%")],
)
def test_a_bar_shows_the_share(done: float, total: float, share: str) -> None:
    drawn = bar(done, total, "text")
    assert drawn.endswith(f"] {share} text")
    assert len(drawn) == len("[] 100% text") + 30


@pytest.mark.parametrize("total", [None, 0])
def test_without_a_total_it_is_a_count(total: int | None) -> None:
    assert bar(7, total, "files") == "7 files"
    assert bar(7, total, "") == "7"


def test_a_message_has_the_names_as_atoms() -> None:
    tag, report = message(1, None, "x")
    assert isinstance(tag, erlang.Atom)
    assert report == {"done": 1, "total": None, "text": "x"}
    assert all(isinstance(key, erlang.Atom) for key in report)


@pytest.mark.parametrize("number", [numpy.int64(3), numpy.float32(3), decimal.Decimal(3)])
def test_numbers_of_others_are_numbers(number: object) -> None:
    erlang.progress(number, number)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", ["3", None, 3j])
def test_what_is_no_number_is_refused(number: object) -> None:
    with pytest.raises(TypeError, match=f"done must be a number, not {type(number).__name__}"):
        erlang.progress(number)  # type: ignore[arg-type]


def test_in_a_process_that_is_no_worker_it_does_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    erlang.progress(1, 2, "x")
    assert capfd.readouterr() == ("", "")
