"""Send Hypothesis's values through Elixir and compare what comes back.

Elixir decodes each body that stands on stdout (in packets with 32 bits of size) and writes its
own encoding of the term to stdin. At the end comes ``ok``, or the failure as text.
"""

import math
import sys
import traceback
from typing import Any

sys.path[:0] = sys.argv[1:3]

from hypothesis import HealthCheck, assume, given, settings  # noqa: E402

import erlang  # noqa: E402
from erlang_python_worker._decoder import Decoder  # noqa: E402
from erlang_python_worker._encoder import Encoder  # noqa: E402
from erlang_python_worker._types import find  # noqa: E402
from strategies import values_for_elixir  # noqa: E402

DECODER, ENCODER = Decoder(), Encoder(find)


def send(packet: bytes) -> None:
    sys.stdout.buffer.write(len(packet).to_bytes(4, "big") + packet)
    sys.stdout.buffer.flush()


def through_elixir(value: Any) -> Any:
    body, buffers = ENCODER.encode(value)
    assert not buffers
    send(body)
    size = int.from_bytes(sys.stdin.buffer.read(4), "big")
    return DECODER.decode(sys.stdin.buffer.read(size))


def expected(value: Any) -> Any:
    """What docs/types.md says comes back: text is text, whatever it was, and so on."""
    if type(value) is bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if type(value) is erlang.Atom:
        # In Elixir these are the atoms themselves.
        return {"nil": None, "true": True, "false": False}.get(value, value)
    if type(value) is float and not math.isfinite(value):
        return {"nan": "nan", "inf": "infinity", "-inf": "neg_infinity"}[str(value)]
    if type(value) in (list, tuple, set):
        return type(value)(map(expected, value))
    if type(value) is dict:
        return {expected(key): expected(item) for key, item in value.items()}
    return value


def distinct(value: Any) -> bool:
    """Do keys and members stay as many, where bytes become text?"""
    if type(value) in (list, tuple):
        return all(map(distinct, value))
    if type(value) in (dict, set):
        inner = [*value, *value.values()] if type(value) is dict else value
        return len(expected(value)) == len(value) and all(map(distinct, inner))
    return True


# A busy machine is no failure.
SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much]


@settings(max_examples=400, deadline=None, database=None, suppress_health_check=SLOW)
@given(values_for_elixir)
def main(value: Any) -> None:
    assume(distinct(value))
    assert through_elixir(value) == expected(value)


try:
    main()
    send(b"ok")
except BaseException:
    send(traceback.format_exc().encode())
