"""Which of the frames of a request runs, whatever the order in which its threads get to them; and
what a signal may hit.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Callable

import pytest

import erlang
from erlang_python_worker import _execute, _namespace, _requests
from erlang_python_worker._execute import Executor
from erlang_python_worker._namespace import Namespace
from erlang_python_worker._protocol import EXEC
from erlang_python_worker._requests import Requests, Stop

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


@contextmanager
def signals(requests: Requests, after: int, *modules: Any) -> Iterator[list[FrameType]]:
    """A signal at each line of these modules but the first ones, as if they came between two lines.

    Gives the frames that it has come to, which are none when the code has no more lines.
    """
    files = {module.__file__ for module in modules}
    lines = 0
    hit: list[FrameType] = []

    def trace(frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal lines
        if frame.f_code.co_filename not in files or frame.f_code.co_name == "_on_signal":
            return None
        lines += event == "line"
        if event == "line" and lines > after:
            hit.append(frame)
            requests._on_signal(signal.SIGINT, frame)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield hit
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("context", [None, 1])
def test_an_interrupt_between_any_two_lines_leaves_nothing_behind(
    requests: Requests, monkeypatch: pytest.MonkeyPatch, context: int | None
) -> None:
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    process = Namespace()
    executor = Executor(process, requests.current, requests.outer)
    hit, after = True, 0
    while hit:
        run = requests.begin(KEY)
        assert run is not None
        run.wanted = requests.armed = True
        with signals(requests, after, _execute, _namespace) as hits:
            try:
                executor.by_type[EXEC](["x = a", {"a": 1, "b": 2}, None, 1, 0, context])
            except erlang.Interrupted:
                pass
        requests.armed = False
        requests.end()
        hit, after = bool(hits), after + 1
        assert sys.modules["__main__"] is process.module
        for namespace in (process, *executor._contexts.values()):
            assert not {"a", "b"} & namespace.globals.keys()
    assert after > 20


def test_a_stop_leaves_no_lock_behind(requests: Requests) -> None:
    requests.stopping = requests.receiving = True
    hit, after = True, 0
    while hit:
        requests.stopped = False
        with signals(requests, after, _requests) as hits:
            try:
                requests.begin(KEY)
                requests._top = None
            except Stop:
                pass
        hit, after = bool(hits), after + 1
        assert not requests._lock.locked()
    assert after > 5
