from collections.abc import Iterator
from contextlib import ExitStack
from typing import Callable

import pytest
from hypothesis import settings

from peer import READY, Peer

# A busy machine is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def start() -> "Iterator[Callable[..., Peer]]":
    """Starts workers that have not been set up; they end with the test."""
    with ExitStack() as stack:

        def start_one(**options: object) -> Peer:
            peer = Peer(**options)  # type: ignore[arg-type]
            stack.callback(peer.close)
            return peer

        yield start_one


@pytest.fixture
def worker(start: "Callable[..., Peer]") -> Peer:
    """A worker of its own, ready for requests."""
    peer = start()
    assert peer.set_up().type == READY
    return peer


@pytest.fixture(scope="module", params=["direct", "pyzmq"])
def shared(request: pytest.FixtureRequest) -> "Iterator[Peer]":
    """One worker for the tests of a module that leave it as it was, by each kind of channel."""
    peer = Peer(channels=request.param)
    try:
        assert peer.set_up().type == READY
        yield peer
    finally:
        peer.close()


@pytest.fixture(params=["direct", "pyzmq"])
def own(request: pytest.FixtureRequest, start: "Callable[..., Peer]") -> Peer:
    """A worker for one test, by each kind of channel."""
    peer = start(channels=request.param)
    peer.set_up()
    return peer


@pytest.fixture
def nothing_is_left(request: pytest.FixtureRequest) -> "Iterator[None]":
    """The test has taken all that the worker which it shares with others has sent."""
    yield
    if "shared" in request.fixturenames:
        peer = request.getfixturevalue("shared")
        assert peer.nothing_waits()
