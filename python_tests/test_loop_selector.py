"""How the worker's event loop waits for the answers of its coroutines' callbacks."""

from __future__ import annotations

import asyncio
import selectors
import socket
from contextlib import closing
from typing import Any, Callable, Iterator

import pytest

from erlang_python_worker import _spin
from erlang_python_worker._loop_selector import LookingSelector, looking_loop


class Pair:
    """A selector that watches one end of a pair of sockets, and how often it offered its core."""

    def __init__(self, selector: LookingSelector, ours: socket.socket, peer: socket.socket) -> None:
        self.selector, self.ours, self.peer = selector, ours, peer
        self.offers = 0
        # What the other side does meanwhile.
        self.then: Callable[[], Any] = lambda: None
        selector.register(ours, selectors.EVENT_READ)

    def offer(self) -> None:
        self.offers += 1
        self.then()

    def ready(self, timeout: float | None) -> bool:
        return [key.fileobj for key, _events in self.selector.select(timeout)] == [self.ours]


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    ours, peer = socket.socketpair()
    with closing(ours), closing(peer), closing(LookingSelector()) as selector:
        made = Pair(selector, ours, peer)
        monkeypatch.setattr(_spin, "_offer", made.offer)
        yield made


def test_an_answer_that_comes_while_it_looks_is_found_awake(pair: Pair) -> None:
    pair.selector.awaited = lambda: True
    pair.then = lambda: pair.peer.sendall(b"here")
    assert pair.ready(None)
    assert pair.offers == 1


@pytest.mark.parametrize("timeout", [0, 0.001])
def test_it_does_not_look_where_there_is_no_time_for_it(pair: Pair, timeout: float) -> None:
    pair.selector.awaited = lambda: True
    assert not pair.ready(timeout)
    assert pair.offers == 0


def test_without_a_callback_it_sleeps_at_once(pair: Pair) -> None:
    assert not pair.ready(0.01)
    assert pair.offers == 0


def test_what_does_not_come_soon_is_waited_for_asleep(pair: Pair) -> None:
    pair.selector.awaited = lambda: True
    assert not pair.ready(0.01)
    assert pair.offers > 0


def test_a_loop_of_another_kind_is_left_as_it_is() -> None:
    class Own(asyncio.SelectorEventLoop):
        pass

    with closing(Own()) as loop:
        assert looking_loop(loop) == (loop, None)
        assert not loop.is_closed()
