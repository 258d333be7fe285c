"""Values that stay in this process for Elixir, and what it does with them: `ErlangPython.Ref`.

Not `erlang.Ref`, which is a reference of the BEAM's.
"""

import os
from typing import Any

from msgpack import packb

from erlang_python_worker import _protocol as wire
from erlang_python_worker._attributes import attribute
from erlang_python_worker._protocol import End, ProtocolError
from erlang_python_worker._types import name

_KEPT = bytes((wire.KEPT,))
_NONCE_SIZE = 8
# The header of an extension of 16 bytes (MessagePack, "fixext 16").
_HEADER = bytes((0xD8, wire.OBJECT))


class Kept:
    """The table of what is kept, by the ids of the requests whose values they are. Any thread.

    Attributes:
        mark: stands in each body that holds one of these objects, and in no other.
    """

    def __init__(self) -> None:
        self._nonce = os.urandom(_NONCE_SIZE)
        self._objects: "dict[bytes, Any]" = {}
        self.mark = _HEADER + self._nonce

    def __len__(self) -> int:
        return len(self._objects)

    def keep(self, key: bytes, value: Any) -> End:
        """Keep a request's value; gives the end of that."""
        # Not before it is needed: with the types that it knows comes much of the standard library.
        body = packb([self._nonce + key, name(type(value))], unicode_errors="replace")
        self._objects[key] = value
        return _KEPT, body, []

    def is_of_this_process(self, wire_name: bytes) -> bool:
        return wire_name[:_NONCE_SIZE] == self._nonce

    def get(self, wire_name: bytes) -> Any:
        """The object of this name.

        Raises:
            KeyError: it was released.
        """
        return self._objects[wire_name[_NONCE_SIZE:]]

    def forget(self, key: bytes) -> None:
        """A request was cancelled so late that its value had been kept."""
        self._objects.pop(key, None)

    def release(self, body: Any) -> None:
        """Run a `RELEASE`."""
        if type(body) is not list or len(body) != 1 or type(body[0]) is not list:
            raise ProtocolError("RELEASE has an array of integers")
        for number in body[0]:
            self._objects.pop(number.to_bytes(8, "big"), None)


kept = Kept()


# What `ErlangPython.Ref` calls.


def get(target: Any, attribute_name: str) -> Any:
    return attribute(target, attribute_name)


def value(target: Any) -> Any:
    return target
