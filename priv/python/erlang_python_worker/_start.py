"""The start of a worker: docs/protocol.md, "Start of a worker"."""

import gc
import itertools
import mmap
import os
import sys
from typing import Any

from erlang_python_worker import _process, runtime

_STARTED_BY_HAND = 2

# What each kind of channel imports.
_NEEDED = {"direct": ("msgpack",), "pyzmq": ("msgpack", "zmq")}


def main() -> None:
    endpoint, token, root, begun, channels = _take_environment()
    _process.adopt()
    runtime.activate(root, _NEEDED[channels])

    # Only now: these import msgpack, and zmq where it is used.
    import erlang._calls
    import erlang._request
    import erlang._span
    import erlang_python_worker._execute
    from erlang_python_worker import _parent
    from erlang_python_worker._bridge import Bridge, SpareThreads, inherit_requests
    from erlang_python_worker._channel import Channel, connector
    from erlang_python_worker._children import Inheritance
    from erlang_python_worker._control import Control
    from erlang_python_worker._event_loops import EventLoops
    from erlang_python_worker._execute import Executor
    from erlang_python_worker._main_line import MainLine
    from erlang_python_worker._namespace import Namespace
    from erlang_python_worker._output import Output
    from erlang_python_worker._requests import Requests
    from erlang_python_worker._runner import Arms, Limits, NoArms, Runner, Server
    from erlang_python_worker._thread_line import ThreadLine
    from erlang_python_worker._tracing import Tracing
    from erlang_python_worker._worker import Worker

    requests = Requests(_map(begun))
    requests.install()
    erlang._request._current = requests.current
    limits = Limits()
    children = Inheritance(endpoint, token, limits)
    forks = _process.Forks(_parent.watch(lambda: requests.stop(interrupt=True)), children.given)
    _process.prepare_streams()
    sys.argv[:] = [""]

    beam = connector(channels, endpoint)
    channel = beam.connect(token)
    executor = Executor(Namespace(), requests.current, requests.outer)
    erlang_python_worker._execute._serving = executor
    numbers = itertools.count(1)

    output = Output(channel, requests, forks)
    tracing = Tracing(channel, requests, forks, limits)
    erlang._span._tracer = tracing

    def serve_on(own: Channel) -> Server:
        return Server(own, runner_of(NoArms()), forks, output)

    def runner_of(arms: Arms) -> Runner:
        return Runner(executor, forks, limits, arms, loops, tracing)

    loops = EventLoops(
        lambda: beam.connect(f"{token}/a{next(numbers)}"),
        lambda: runner_of(NoArms()),
        limits,
        requests,
        forks,
    )
    runner = runner_of(requests)
    server = Server(channel, runner, forks, output, detaches=True)
    line = MainLine(channel, limits, requests, server)

    def open_line() -> ThreadLine:
        own = beam.connect(f"{token}/t{next(numbers)}")
        return ThreadLine(own, limits, requests, serve_on(own))

    bridge = Bridge(line, channel, open_line, loops, requests, tracing)
    erlang._calls._bridge = bridge
    inherit_requests(requests)
    children.install()
    control = beam.connect(f"{token}/control")
    spare = SpareThreads(bridge, serve_on(control).refuse)
    line.hand_over = spare.take_over
    Control(control, requests, executor.streams, spare.serve).start()
    status = _run(Worker(line, server, runner, requests, executor, limits, output), channel)

    loops.end()
    erlang._calls._bridge = None
    erlang._calls.leaving = True
    channel.close()
    bridge.end()
    beam.end()
    sys.exit(status)


def _run(worker: Any, channel: Any) -> int:
    from msgpack import packb

    from erlang_python_worker._protocol import FAILED, HELLO, READY, head
    from erlang_python_worker._runner import prepare

    channel.send_head(head(HELLO) + packb(_hello()))
    failed = worker.set_up()
    if failed is not None:
        channel.send(head(FAILED) + failed)
        return 1
    # What is loaded by now stays: no collection needs to look at it again.
    gc.freeze()
    channel.send_head(head(READY))
    # The first error needs modules, and then it may be too late: one that has run out of
    # descriptors imports nothing. After READY, because it takes milliseconds.
    prepare()

    worker.serve()
    return 0


def _map(path: str) -> mmap.mmap:
    """The file in which the BEAM finds, after any death, which requests had begun."""
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), 0)


def _take_environment() -> "tuple[str, ...]":
    names = (
        "ERLANG_PYTHON_ENDPOINT",
        "ERLANG_PYTHON_TOKEN",
        "ERLANG_PYTHON_RUNTIME",
        "ERLANG_PYTHON_RUNNING",
        "ERLANG_PYTHON_CHANNEL",
    )
    # Before any user code: a token is not for the programs that it starts.
    values = [os.environ.pop(name, None) for name in names]
    if None in values:
        sys.stderr.write(f"{sys.argv[0]} is started by the BEAM, with {', '.join(names)} set\n")
        sys.exit(_STARTED_BY_HAND)
    return tuple(map(str, values))


def _hello() -> "dict[str, Any]":
    import msgpack

    from erlang_python_worker._protocol import VERSION

    return {
        "protocol": VERSION,
        "pid": os.getpid(),
        "python": ".".join(map(str, sys.version_info[:3])),
        "implementation": _IMPLEMENTATIONS.get(sys.implementation.name, sys.implementation.name),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "free_threaded": "t" in getattr(sys, "abiflags", ""),
        **_libzmq(),
        "msgpack": ".".join(map(str, msgpack.version)),
        "msgpack_compiled": msgpack.Packer.__module__ != "msgpack.fallback",
    }


def _libzmq() -> "dict[str, Any]":
    zmq = sys.modules.get("zmq")  # the direct channel has no use for it
    if zmq is None:
        return {"channel": "direct", "pyzmq": None, "libzmq": None}
    return {"channel": "pyzmq", "pyzmq": zmq.__version__, "libzmq": zmq.zmq_version()}


_IMPLEMENTATIONS = {"cpython": "CPython", "pypy": "PyPy"}
