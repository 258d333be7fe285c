"""What users import."""

import copy
import gc
import pickle
import weakref

import pytest

import erlang
import vectors

ROWS = {row[0]: row for row in vectors.rows("values.tsv")}


def handle(name: str) -> erlang.Opaque:
    made: erlang.Opaque = vectors.value(ROWS[name][4])
    return made


def test_what_is_exported() -> None:
    assert sorted(name for name in vars(erlang) if name[0] != "_") == sorted(erlang.__all__)
    assert {vars(erlang)[name].__module__ for name in erlang.__all__} == {"erlang"}


def test_an_atom_is_its_text() -> None:
    ok = erlang.Atom("ok")
    assert ok == "ok"
    assert {"ok": 1}[ok] == 1
    assert (repr(ok), f"{ok}") == ("erlang.Atom('ok')", "ok")
    assert type(pickle.loads(pickle.dumps(ok))) is erlang.Atom
    assert type(copy.deepcopy(ok)) is erlang.Atom


@pytest.mark.parametrize("name", ["", "a" * 256])
def test_an_atom_has_1_to_255_characters(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 255"):
        erlang.Atom(name)


def test_an_atom_is_made_of_text() -> None:
    with pytest.raises(TypeError, match="expected str, got int"):
        erlang.Atom(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("pid", erlang.Pid, "<erlang.Pid 110.0 on nonode@nohost>"),
        ("reference", erlang.Ref, "<erlang.Ref "),
        ("function", erlang.Callable, "<erlang.Callable of "),
    ],
)
def test_handles_compare_hash_print_and_pickle(name: str, kind: type, text: str) -> None:
    one, other = handle(name), handle(name)
    assert type(one) is kind
    assert one == other
    assert one is not other
    assert {one: 1}[other] == 1
    assert repr(one).startswith(text)
    assert pickle.loads(pickle.dumps(one)) == one
    assert one != handle("pid" if name != "pid" else "reference")
    assert one != 5


@pytest.mark.parametrize("kind", [erlang.Pid, erlang.Ref, erlang.Opaque, erlang.Callable])
def test_handles_cant_be_made_or_changed(kind: type) -> None:
    with pytest.raises(TypeError, match="comes from Elixir"):
        kind(b"x")
    with pytest.raises(AttributeError):
        handle("pid")._data = b"x"


def test_outside_of_a_worker_there_is_no_request() -> None:
    assert erlang.current_request() is None


@pytest.mark.parametrize(
    ("kind", "encoder"), [(5, str), (int, str), (dict, str), (type(None), str), (range, 5)]
)
def test_register_encoder_refuses(kind: object, encoder: object) -> None:
    with pytest.raises(TypeError):
        erlang.register_encoder(kind, encoder)  # type: ignore[call-overload]


def test_an_encoder_for_atoms_serves_atoms_that_were_sent_before() -> None:
    from erlang import _encoders
    from erlang_python_worker._encoder import Encoder
    from erlang_python_worker._types import find

    encode, atom = Encoder(find).encode, erlang.Atom("ok")
    plain = encode([atom, atom])
    erlang.register_encoder(erlang.Atom, len)
    try:
        assert encode([atom, atom])[0] == b"\x92\x02\x02"
    finally:
        del _encoders.registered[erlang.Atom]
        _encoders.resolved.clear()
    assert encode([atom, atom]) == plain


def test_an_encoder_that_comes_while_the_type_is_looked_up_serves() -> None:
    from erlang_python_worker._encoder import Encoder
    from erlang_python_worker._types import find

    class Meta(type):
        @property
        def __dataclass_fields__(cls) -> None:
            # As another thread may at this point.
            erlang.register_encoder(Late, lambda value: 1)
            raise AttributeError

    class Late(list, metaclass=Meta):  # type: ignore[type-arg]
        pass

    encode = Encoder(find).encode
    assert encode(Late())[0] == b"\x90"
    assert encode(Late())[0] == b"\x01"


def test_a_registered_encoder_serves_subclasses_and_the_latest_wins() -> None:
    from erlang_python_worker._encoder import EncodeError, Encoder
    from erlang_python_worker._types import find

    class Base:
        pass

    class Derived(Base):
        pass

    encode = Encoder(find).encode
    with pytest.raises(EncodeError):
        encode(Derived())
    erlang.register_encoder(Base, lambda value: 1)
    assert encode(Derived())[0] == b"\x01"
    erlang.register_encoder(Derived, lambda value: 2)
    assert encode([Base(), Derived()])[0] == b"\x92\x01\x02"
    erlang.register_encoder(Base, lambda value: 1 / 0)
    with pytest.raises(EncodeError, match="raised ZeroDivisionError"):
        encode(Base())
    erlang.register_encoder(Base, lambda value: value)
    with pytest.raises(EncodeError, match="same type"):
        encode(Base())


def test_register_encoder_is_a_decorator_too() -> None:
    from erlang_python_worker._encoder import Encoder
    from erlang_python_worker._types import find

    class Price:
        pass

    @erlang.register_encoder(Price)
    def encode(price: Price) -> int:
        return 5

    assert encode(Price()) == 5
    assert Encoder(find).encode(Price())[0] == b"\x05"


def test_handles_are_weak_keys() -> None:
    pid = handle("pid")
    held = weakref.WeakKeyDictionary({pid: 1})
    assert held[handle("pid")] == 1
    del pid
    gc.collect()
    assert len(held) == 0


def test_the_names_that_are_listed_have_log() -> None:
    assert {"log", *erlang.__all__} <= set(dir(erlang))
