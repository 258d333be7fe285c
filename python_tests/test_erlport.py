"""What does not need an instance of `erlport`."""

import copy
import datetime
import enum
import pickle
import sys
from collections import OrderedDict
from typing import Any, NamedTuple

import pytest
from msgpack import unpackb

import erlang
import erlport.erlang
from erlport._codec import pack, unpack
from erlport._instance import hooks
from erlport.erlterms import Atom, ImproperList, List, Map


def test_an_atom_is_one_object_for_each_name() -> None:
    ok = Atom(b"ok")
    assert ok is Atom(b"ok")
    assert ok == b"ok"
    assert {b"ok": 1}[ok] == 1
    assert repr(ok) == "Atom(b'ok')"
    assert pickle.loads(pickle.dumps(ok)) is ok
    assert copy.deepcopy(ok) is ok


@pytest.mark.parametrize("name", [b"", b"a" * 256, b"\xff", "\u00e9".encode() * 256])
def test_an_atom_has_1_to_255_characters(name: bytes) -> None:
    with pytest.raises(ValueError):
        Atom(name)


def test_an_atom_may_have_255_characters() -> None:
    assert len(Atom("\u00e9".encode() * 255)) == 510


def test_an_atom_has_a_name_of_bytes() -> None:
    with pytest.raises(TypeError, match=r"Atom\(b'ok'\)"):
        Atom("ok")  # type: ignore[arg-type]


def test_a_list_may_be_text() -> None:
    assert List([99, 0xE9]).to_string() == "c\u00e9"
    with pytest.raises(TypeError):
        List([b"x"]).to_string()


def test_an_improper_list_has_a_tail() -> None:
    improper = ImproperList([1, 2], 3)
    assert (list(improper), improper.tail) == ([1, 2], 3)
    assert repr(improper) == "ImproperList([1, 2], 3)"
    assert improper == ImproperList([1, 2], 3)
    assert improper != ImproperList([1, 2], 4)
    assert improper != [1, 2]
    assert pickle.loads(pickle.dumps(improper)) == improper
    with pytest.raises(TypeError):
        ImproperList([1], [2])
    with pytest.raises(ValueError):
        ImproperList([], 1)


class Point(NamedTuple):
    x: int
    y: int


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        (-(2**63), -(2**63)),
        (2**64, 2**64),
        ([2**64, 1], [2**64, 1]),
        (-(2**100), -(2**100)),
        (b"\xff", b"\xff"),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        ("h\u00e9", [0x68, 0xE9]),
        ("", []),
        (Atom(b"ok"), Atom(b"ok")),
        (erlang.Atom("ok"), Atom(b"ok")),
        (List([1, [b"a"]]), [1, [b"a"]]),
        ((), ()),
        ((1, ("a",)), (1, ([97],))),
        (Point(1, 2), (1, 2)),
        (Colour.RED, 1),
        (ImproperList([1, (2,)], Atom(b"t")), ImproperList([1, (2,)], Atom(b"t"))),
        (OrderedDict({Atom(b"a"): {1: None}}), {Atom(b"a"): {1: None}}),
        (datetime.date(2024, 2, 29), datetime.date(2024, 2, 29)),
        ([{1}, (datetime.timedelta(1),)], [{1}, (datetime.timedelta(1),)]),
    ],
)
def test_values_travel(value: Any, back: Any) -> None:
    result = unpack(pack(value))
    assert result == back
    classes: "dict[type, type]" = {list: List, dict: Map}
    assert type(result) is classes.get(type(back), type(back))


def test_keys_of_a_dict_may_be_text() -> None:
    # Python can't read it back: lists are no keys there.
    packed = pack({"a": 1})
    pairs = unpackb(packed, object_pairs_hook=list, strict_map_key=False)
    assert pairs == [([97], 1)]


def test_buffers_beside_a_body() -> None:
    # fixarray of two, each an extension of type `buffer`: kind 0, index 1 and 0
    body = b"\x92" + b"\xc7\x05\x06\x00\x00\x00\x00\x01" + b"\xc7\x05\x06\x00\x00\x00\x00\x00"
    assert unpack(body, b"first", b"second") == [b"second", b"first"]


def test_what_can_not_be_pickled() -> None:
    with pytest.raises(TypeError, match=r"type 'generator' has no Erlang form.*set_encoder"):
        pack([1, (n for n in [1])])
    # Nothing of it is left for the next.
    assert unpack(pack(1)) == 1


class Nested:
    def __reduce__(self) -> "tuple[Any, ...]":
        assert unpack(pack([1])) == [1]
        return Nested, ()


def test_pickling_may_pack() -> None:
    assert type(unpack(pack([b"x", Nested()]))[1]) is Nested


def test_large_values() -> None:
    assert unpack(pack([b"x" * 2_000_000])) == [b"x" * 2_000_000]


def test_outside_of_an_instance() -> None:
    for call in (
        erlport.erlang.self,
        erlport.erlang.make_ref,
        lambda: erlport.erlang.cast(Atom(b"name"), 1),
    ):
        with pytest.raises(RuntimeError, match="no ErlPort instance"):
            call()


def test_wrong_arguments() -> None:
    with pytest.raises(TypeError, match="are atoms"):
        erlport.erlang.call(b"lists", Atom(b"max"), [])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a list"):
        erlport.erlang.call(Atom(b"lists"), Atom(b"max"), ([1],))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a pid or"):
        erlport.erlang.cast(b"name", 1)
    for setter in ("set_encoder", "set_decoder", "set_message_handler"):
        with pytest.raises(TypeError, match="a function"):
            getattr(erlport.erlang, setter)(1)


def test_the_defaults_change_nothing() -> None:
    erlport.erlang.set_encoder(str)
    erlport.erlang.set_decoder(str)
    erlport.erlang.set_message_handler(str)
    assert (hooks.encoder, hooks.decoder, hooks.message_handler) == (str, str, str)
    erlport.erlang.set_default_encoder()
    erlport.erlang.set_default_decoder()
    erlport.erlang.set_default_message_handler()
    assert (hooks.encoder(1), hooks.decoder(2), hooks.message_handler(3)) == (1, 2, None)


def test_what_is_exported() -> None:
    for module in (sys.modules["erlport.erlang"], sys.modules["erlport.erlterms"]):
        for name in module.__all__:
            assert hasattr(module, name)
