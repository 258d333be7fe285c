"""How long a thread looks for a message before it sleeps, by a clock of the tests' own."""

import select
import socket
from contextlib import closing
from typing import Any, Callable

import pytest

from erlang_python_worker import _spin
from erlang_python_worker._spin import Spin

QUICK_NS, LATE_NS = 1_000, 50_000


class Clock:
    """Goes on by `step` nanoseconds each time that it is read."""

    def __init__(self, step: int) -> None:
        self.now, self.step = 0, step

    def __call__(self) -> int:
        self.now += self.step
        return self.now


class Messages:
    """None is there until the look with this number."""

    def __init__(self, first_at: "int | None" = None) -> None:
        self.looks, self.first_at = 0, first_at

    def poll(self, timeout_ms: int) -> bool:
        assert timeout_ms == 0
        self.looks += 1
        return self.first_at is not None and self.looks >= self.first_at


@pytest.fixture(autouse=True)
def offers(monkeypatch: pytest.MonkeyPatch) -> "list[None]":
    """There are several cores; the list counts how often the thread offered its own."""
    made: "list[None]" = []
    monkeypatch.setattr(_spin, "_offer", lambda: made.append(None))
    return made


def skipped(spin: Spin, messages: Messages) -> int:
    """How many times it sleeps at once, until it looks again (in vain)."""
    times = 0
    before = messages.looks
    while True:
        assert not spin.look(Clock(QUICK_NS))
        if messages.looks > before:
            return times
        times += 1


def test_a_message_that_is_there_is_found_at_once(offers: "list[None]") -> None:
    ours, peer = socket.socketpair()
    with closing(ours), closing(peer):
        poll = select.poll()
        poll.register(ours, select.POLLIN)
        peer.sendall(b"here")
        assert Spin(poll.poll).look()
    assert offers == []


def test_a_message_that_comes_soon_is_found(offers: "list[None]") -> None:
    messages = Messages(first_at=20)
    assert Spin(messages.poll).look(Clock(QUICK_NS))
    assert (messages.looks, len(offers)) == (20, 19)


def test_it_looks_for_a_fifth_of_a_millisecond_and_no_longer() -> None:
    messages = Messages()
    clock = Clock(QUICK_NS)
    assert not Spin(messages.poll).look(clock)
    assert 200_000 <= clock.now <= 210_000
    assert messages.looks == pytest.approx(200, abs=2)


def test_it_gives_way_to_whoever_wants_its_core() -> None:
    messages = Messages()
    assert not Spin(messages.poll).look(Clock(LATE_NS))
    assert messages.looks == 1


@pytest.mark.parametrize("step", [QUICK_NS, LATE_NS])
def test_after_looks_in_vain_it_sleeps_at_once_for_longer_and_longer(step: int) -> None:
    messages = Messages()
    spin = Spin(messages.poll)
    assert not spin.look(Clock(step))
    assert [skipped(spin, messages) for _ in range(8)] == [1, 3, 7, 15, 31, 63, 63, 63]


def test_what_it_finds_makes_it_sleep_less() -> None:
    messages = Messages()
    spin = Spin(messages.poll)
    assert not spin.look(Clock(QUICK_NS))
    assert [skipped(spin, messages) for _ in range(3)] == [1, 3, 7]
    for _ in range(15):
        assert not spin.look(Clock(QUICK_NS))
    messages.first_at = 0
    assert all(spin.look(Clock(QUICK_NS)) for _ in range(3))  # 15 -> 7 -> 3 -> 1
    messages.first_at = None
    assert not spin.look(Clock(QUICK_NS))
    assert skipped(spin, messages) == 3


def test_a_clock_that_is_frozen_for_tests_does_not_hold_it(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: "Callable[[], int]" = lambda: 0  # noqa: E731
    monkeypatch.setattr(_spin, "perf_counter_ns", frozen)
    looks = iter(range(1_000_000))  # far more than there is time for
    assert not Spin(lambda _timeout_ms: next(looks) < 0).look()


@pytest.mark.parametrize(
    ("cores", "metered", "may_look"), [(2, False, True), (1, False, False), (2, True, False)]
)
def test_it_may_look_where_it_takes_nothing_from_others(
    monkeypatch: pytest.MonkeyPatch, cores: int, metered: bool, may_look: bool
) -> None:
    monkeypatch.setattr(_spin, "cores", lambda: cores)
    monkeypatch.setattr(_spin, "is_metered", lambda: metered)
    assert _spin._may_look() == may_look


def test_where_it_may_not_it_never_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_spin, "_offer", None)
    messages: Any = Messages(first_at=0)
    assert not Spin(messages.poll).look(Clock(QUICK_NS))
    assert messages.looks == 0
