"""Python's `logging` into Elixir's Logger."""

import logging
import threading
from typing import Optional

from erlang import _calls

# Characters of a message and of an exception's text.
_LONGEST = 16_384


class LogHandler(logging.Handler):
    """Sends each record to Elixir's Logger; see ``erlang.log``.

    In processes that are no workers, forked ones included, it writes to ``sys.stderr``.
    """

    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._inside = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        # What is logged while a record is made into text would be logged without end.
        if getattr(self._inside, "emitting", False):
            return
        self._inside.emitting = True
        try:
            self._emit(record)
        except Exception:  # as all handlers do: told on stderr, and nothing to whoever logged
            self.handleError(record)
        finally:
            self._inside.emitting = False

    def _emit(self, record: logging.LogRecord) -> None:
        sent = _calls.connected() and _calls.bridge().log(
            [
                record.levelno,
                record.name,
                self.format_message(record)[:_LONGEST],
                record.pathname,
                record.lineno,
                record.funcName,
                _exception(record),
            ]
        )
        if not sent:
            # Made anew: `sys.stderr` may be another by now.
            logging.StreamHandler().emit(record)

    def format_message(self, record: logging.LogRecord) -> str:
        """The message alone, unless a formatter was set: Logger knows time and level itself."""
        return record.getMessage() if self.formatter is None else self.format(record)


def _exception(record: logging.LogRecord) -> "Optional[str]":
    text = record.exc_text
    if text is None and record.exc_info:
        text = logging.Formatter().formatException(record.exc_info)
    if record.stack_info:
        text = f"{text}\n{record.stack_info}" if text else record.stack_info
    return None if text is None else text[-_LONGEST:]


# The one that workers put onto the root logger.
log = LogHandler()
