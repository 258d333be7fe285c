"""What the instance in Erlang calls, and what it has given to this process."""

import sys
from importlib import import_module
from typing import Any, Callable, NamedTuple, Optional

import erlang as beam
from erlang_python_worker._attributes import dotted
from erlport._codec import pack, unpack


class Connection(NamedTuple):
    call: beam.Callable  # calls a function of Erlang's
    pid: beam.Pid  # of the instance
    tag: beam.Ref  # of messages to it that others can't make


class Hooks:
    """What users set by ``erlport.erlang``."""

    @staticmethod
    def unchanged(value: Any) -> Any:
        return value

    @staticmethod
    def ignore(_message: Any) -> None:
        pass

    encoder: "Callable[[Any], Any]" = unchanged
    decoder: "Callable[[Any], Any]" = unchanged
    message_handler: "Callable[[Any], Any]" = ignore


hooks = Hooks()
_connection: "Optional[Connection]" = None
_sent = 0


def connect(call: beam.Callable, pid: beam.Pid, tag: beam.Ref) -> None:
    global _connection
    _connection = Connection(call, pid, tag)


def connection() -> Connection:
    if _connection is None:
        raise RuntimeError(
            "this process belongs to no ErlPort instance (ErlangPython.ErlPort.start): "
            "it has no Erlang to call"
        )
    return _connection


def call(module: str, name: str, body: bytes, *buffers: bytes) -> "list[Any]":
    """Gives the result's body, and whether messages were sent that the caller may expect."""
    args = [hooks.decoder(value) for value in unpack(body, *buffers)]
    before = _sent
    result = dotted(sys.modules.get(module) or import_module(module), name)(*args)
    return [pack(hooks.encoder(result)), _sent != before]


def deliver(body: bytes, *buffers: bytes) -> None:
    hooks.message_handler(hooks.decoder(unpack(body, *buffers)))


def send(destination: Any, message: Any) -> None:
    global _sent
    own = connection()
    beam.send(own.pid, (own.tag, pack((destination, hooks.encoder(message)))))
    _sent += 1
