"""Lets child processes call Elixir: docs/protocol.md, "Child processes"."""

import erlang._child
import erlang._request
from erlang._child import Given
from erlang_python_worker._import_hooks import when_imported
from erlang_python_worker._runner import Limits


class Inheritance:
    """What children get: forked ones by `given`, those of `multiprocessing` by their configuration.

    That is copied from process to process, and pickled for those that are started anew.
    """

    def __init__(self, endpoint: str, token: str, limits: Limits) -> None:
        self._endpoint = endpoint
        self._token = token
        self._limits = limits

    def given(self) -> Given:
        """For a child that the calling thread starts, on behalf of the thread's request."""
        run = erlang._request._current()
        request = 0 if run is None else run.id
        context = None if run is None or run.namespace is None else run.namespace.context
        return self._endpoint, self._token, self._limits.max_message_size, request, context

    def install(self) -> None:
        when_imported("multiprocessing.process", self._hand_over)

    def _hand_over(self, module: object) -> None:
        # The only thing of a process that each way to start one takes along (not its environment,
        # which any program sees).
        module.current_process()._config[erlang._child.CONFIG] = self  # type: ignore[attr-defined]

    def __reduce__(self) -> "tuple[type[tuple[object, ...]], tuple[Given]]":
        # Plain values: nothing of ours need be importable there.
        return tuple, (self.given(),)
