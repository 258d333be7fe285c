"""Puts `erlang.log` onto the root logger, and sets it up."""

from typing import Any, Optional

from erlang_python_worker._import_hooks import when_imported


def install() -> None:
    when_imported("logging", _attach)


def _attach(logging: Any) -> None:
    from erlang._log import log

    if log not in logging.root.handlers:
        logging.root.addHandler(log)


def configure(level: "Optional[str]", format: "Optional[str]") -> None:
    """Set the root logger's level, by its name, and the text of `erlang.log`'s messages."""
    import logging

    from erlang._log import log

    if level is not None:
        logging.root.setLevel(level)
    log.setFormatter(None if format is None else logging.Formatter(format))
