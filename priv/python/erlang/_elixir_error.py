from typing import Any

_THE_MESSAGE = object()  # None is a reason like any other


class ElixirError(RuntimeError):
    """A function that was called in Elixir failed.

    Left uncaught, it comes back to the Elixir caller of the Python code with the original
    exception in it.

    Attributes:
        kind: ``"error"`` (an exception), ``"throw"`` or ``"exit"``.
        reason: an exception's message; for the others what was thrown, or why it exited.
        stacktrace: Elixir's, as text.
    """

    def __init__(
        self,
        message: str,
        kind: str = "error",
        reason: Any = _THE_MESSAGE,
        stacktrace: str = "",
        term: Any = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.reason = message if reason is _THE_MESSAGE else reason
        self.stacktrace = stacktrace
        self._term = term


class UnknownFunction(ElixirError, AttributeError):
    """No function was registered under this name."""
