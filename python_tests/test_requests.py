"""Which of the frames of a request runs, whatever the order in which its threads get to them."""

from __future__ import annotations

from typing import Callable

import pytest

from erlang_python_worker._requests import Requests

KEY = (7).to_bytes(8, "big")


@pytest.fixture
def requests() -> Requests:
    return Requests(bytearray(8 * 5))


def in_main(requests: Requests) -> bool:
    if requests.begin(KEY) is None:
        return False
    requests.end()
    return True


def beside(requests: Requests, from_main: bool = False) -> bool:
    run = requests.begin_beside(KEY, from_main=from_main)
    if run is None:
        return False
    requests.end_beside(run)
    return True


def handed_over(requests: Requests) -> bool:
    return beside(requests, from_main=True)


def move(requests: Requests) -> None:
    requests.move(KEY)


# The second frame follows MOVE on the control channel; the first may be begun at any point.
@pytest.mark.parametrize("first", [in_main, handed_over])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_of_two_frames_of_a_request_that_moves_one_runs(
    requests: Requests, first: Callable[[Requests], bool], at: int
) -> None:
    steps: list[Callable[[Requests], bool | None]] = [move, beside]
    steps.insert(at, first)
    assert [step(requests) for step in steps].count(True) == 1


def test_one_that_has_begun_runs_nowhere_else_however_late_its_frames(requests: Requests) -> None:
    assert in_main(requests)
    move(requests)
    move(requests)
    assert not beside(requests)
    assert not beside(requests)


def test_one_that_was_recalled_from_the_main_thread_runs_elsewhere(requests: Requests) -> None:
    assert requests.cancel(KEY, interrupt=False) == "revoked"
    assert beside(requests)
    assert not in_main(requests)
    assert in_main(requests)


def test_one_that_was_recalled_and_then_revoked_runs_nowhere(requests: Requests) -> None:
    assert requests.cancel(KEY, interrupt=False) == "revoked"
    assert requests.cancel(KEY, interrupt=True) == "revoked"
    assert not beside(requests)
    assert not in_main(requests)
