"""Calls and messages to Erlang, as ErlPort's module of this name has them."""

from typing import Any, Callable

from erlang import Pid
from erlport._codec import pack, unpack
from erlport._instance import Hooks, connection, hooks, send
from erlport.erlterms import Atom

__all__ = [
    "call",
    "cast",
    "make_ref",
    "self",
    "set_decoder",
    "set_default_decoder",
    "set_default_encoder",
    "set_default_message_handler",
    "set_encoder",
    "set_message_handler",
]


def call(module: Atom, function: Atom, arguments: "list[Any]") -> Any:
    """Call ``module:function`` with these arguments, in a new process, and wait for its result.

    From any thread. The encoder is applied to each argument, the decoder to the result.

    Raises:
        TypeError: module and function are no atoms, or the arguments no list.
        erlang.ElixirError: the function raised, threw or exited, or there is none.
    """
    if not (isinstance(module, Atom) and isinstance(function, Atom)):
        raise TypeError(
            f"module and function are atoms, such as Atom(b'lists'), got {module!r}, {function!r}"
        )
    if not isinstance(arguments, list):
        raise TypeError(f"the arguments are a list, got {arguments!r}")
    body = pack([module, function, [hooks.encoder(argument) for argument in arguments]])
    return hooks.decoder(unpack(*connection().call(body)))


def cast(pid: Any, message: Any) -> None:
    """Send a message to a process; from any thread.

    Args:
        pid: one that was passed in, the name of a registered process as an `Atom`, or a tuple of
            such a name and that of a node.
        message: the encoder is applied to it.
    """
    name_and_node = isinstance(pid, tuple) and len(pid) == 2
    if not (name_and_node or isinstance(pid, (Pid, Atom))):
        raise TypeError(f"expected a pid or the name of a process as an Atom, got {pid!r}")
    send(pid, message)


def self() -> Pid:
    """The pid of the instance: what is sent there comes to the message handler."""
    return connection().pid


def make_ref() -> Any:
    """A new reference."""
    return call(Atom(b"erlang"), Atom(b"make_ref"), [])


def set_encoder(encoder: "Callable[[Any], Any]") -> None:
    """Set what is applied to each value on its way to Erlang. Containers are not walked through."""
    hooks.encoder = _function(encoder)


def set_decoder(decoder: "Callable[[Any], Any]") -> None:
    """Set what is applied to each value that comes from Erlang."""
    hooks.decoder = _function(decoder)


def set_message_handler(handler: "Callable[[Any], Any]") -> None:
    """Set what gets the messages to this instance, one after another.

    What it raises ends the instance.
    """
    hooks.message_handler = _function(handler)


def set_default_encoder() -> None:
    """Values go out as they are."""
    hooks.encoder = Hooks.unchanged


def set_default_decoder() -> None:
    """Values come in as they are."""
    hooks.decoder = Hooks.unchanged


def set_default_message_handler() -> None:
    """Messages are ignored."""
    hooks.message_handler = Hooks.ignore


def _function(function: "Callable[[Any], Any]") -> "Callable[[Any], Any]":
    if not callable(function):
        raise TypeError(f"expected a function of one argument, got {function!r}")
    return function
