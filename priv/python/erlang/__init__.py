"""What Python code in a worker may use of Elixir and Erlang."""

from erlang._atom import Atom
from erlang._encoders import register_encoder
from erlang._handles import Callable, Opaque, Pid, Ref
from erlang._interrupted import Interrupted
from erlang._request import Request, current_request
from erlang._tensor import Tensor

__all__ = [
    "Atom",
    "Callable",
    "Interrupted",
    "Opaque",
    "Pid",
    "Ref",
    "Request",
    "Tensor",
    "current_request",
    "register_encoder",
]

# Names in tracebacks and pickles are those that users import.
for _name in __all__:
    globals()[_name].__module__ = __name__
