"""The main thread: receive, run, send, with no other thread in between."""

import gc
import sys
from typing import Any, Optional

from msgpack import packb

import erlang._progress
from erlang._calls import read_line
from erlang_python_worker import _hints, _logging, _tqdm
from erlang_python_worker import _protocol as wire
from erlang_python_worker._channel import Closed
from erlang_python_worker._execute import Executor
from erlang_python_worker._lines import left_behind
from erlang_python_worker._main_line import MainLine
from erlang_python_worker._output import Output
from erlang_python_worker._process import CallerInput, from_signal_handler
from erlang_python_worker._protocol import HEAD_SIZE, ProtocolError
from erlang_python_worker._requests import Requests, Stop, whole
from erlang_python_worker._runner import GUARDED, Limits, Runner, Server


class Worker:
    def __init__(
        self,
        line: MainLine,
        server: Server,
        runner: Runner,
        requests: Requests,
        executor: Executor,
        limits: Limits,
        output: Output,
    ):
        self._line = line
        self._server = server
        self._runner = runner
        self._requests = requests
        self._executor = executor
        self._limits = limits
        self._output = output
        requests.guarded = GUARDED

    def set_up(self) -> "Optional[bytes]":
        """Answer HELLO's SETUP; gives the body of FAILED if that did not work."""
        try:
            head, buffers = self._line.next()
            if not head or head[0] & wire.TYPE != wire.SETUP:
                raise ProtocolError("SETUP comes first")
            setup = self._runner.decode(head[HEAD_SIZE:], buffers)
            self._limits.max_message_size = setup["max_message_size"]
            _hints.pool.name, _hints.pool.packages = setup["pool"], setup["packages"]
            self._set_up_streams(setup)
            auto_reload = self._auto_reload(setup)
            sys.path[:0] = setup["paths"]
            for kind, text in setup["preload"]:
                self._executor.preload(kind, text)
            for kind, body, out_of_band in setup["replay"]:
                self._executor.replay(kind, self._runner.decode(body, out_of_band))
            if auto_reload is not None:
                auto_reload.install(self._executor)
            if setup["preload"] or setup["replay"]:
                gc.collect()  # what is garbage by now would be frozen with the rest
        except BaseException as error:  # SystemExit too: a module that exits did not load
            from erlang_python_worker._errors import describe

            return bytes(packb(describe(error)))
        return None

    def _auto_reload(self, setup: "dict[str, Any]") -> Any:
        if setup["reload"] != "auto":
            return None
        # Not before it is needed, and before the modules are loaded that it watches.
        from erlang_python_worker._auto_reload import AutoReload

        return AutoReload(self._requests)

    def _set_up_streams(self, setup: "dict[str, Any]") -> None:
        if setup["stdout"] == "caller":
            self._output.install()
            erlang._progress.bars = setup["bars"]
        if setup["stdout"] != "ignore":
            _logging.install()
        if setup["stdin"] == "caller":
            sys.stdin = sys.__stdin__ = CallerInput(read_line)  # type: ignore[misc,assignment]
        _tqdm.install()

    @whole
    def serve(self) -> None:
        """Take requests until the worker is to end."""
        requests = self._requests
        try:
            requests.receiving = True
            while not requests.stopping:
                try:
                    head, buffers = self._line.next()
                except Exception as error:
                    _survive(error)
                    continue
                self._serve(head, buffers)
                del head, buffers  # may be large, and the next may be long in coming
                if self._executor.litter.any:
                    self._tidy_up()
        except (Stop, Closed):
            pass
        requests.stopped = True
        self._executor.streams.close_all()

    def _tidy_up(self) -> None:
        """Free what closed contexts have left, when it is time; until then requests go first."""
        requests, litter = self._requests, self._executor.litter
        wait_ms = litter.wait_ms
        try:
            if wait_ms and self._line.has_message(wait_ms):
                return
        except Exception as error:
            _survive(error)
            return
        # Destructors run here, where a `Stop` would be lost.
        requests.receiving = False
        litter.collect()
        requests.receiving = True
        if left_behind:
            self._line.catch_up()

    def _serve(self, head: bytes, buffers: "list[Any]") -> None:
        if len(head) < HEAD_SIZE:
            head = bytes(HEAD_SIZE)  # of no type: an error of no request
        run = self._requests.begin(head[1:HEAD_SIZE])
        if run is not None:
            self._server.serve(run, head, buffers)
            self._requests.end()
            if left_behind:
                self._line.catch_up()


def _survive(error: Exception) -> None:
    """Go on after what a signal has raised while no request ran, such as an alarm left behind."""
    if not from_signal_handler(error):
        raise error
    import traceback

    traceback.print_exception(type(error), error, error.__traceback__)
