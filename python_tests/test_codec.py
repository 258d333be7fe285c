import datetime
import decimal
import struct
import sys
import time
import tracemalloc
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import erlang
import strategies
import vectors
from erlang_python_worker import _encoder
from erlang_python_worker._decoder import Decoder
from erlang_python_worker._encoder import EncodeError, Encoder
from erlang_python_worker._extensions import DecodeError
from erlang_python_worker._locate import locate
from erlang_python_worker._types import find

OK = erlang.Atom("ok")
VALUES = vectors.rows("values.tsv")
INVALID = vectors.rows("invalid.tsv")


def encode(value: Any, plain: bool = False) -> "tuple[bytes, list[Any]]":
    encoder = Encoder(find, plain)
    try:
        return encoder.encode(value)
    except Exception as error:
        raise locate(encoder, value, error) from error


def decode(body: bytes, buffers: Any = ()) -> Any:
    return Decoder().decode(body, [bytes(buffer) for buffer in buffers])


def named(rows: "list[list[str]]", *directions: str) -> pytest.MarkDecorator:
    chosen = [row for row in rows if row[1] in directions]
    return pytest.mark.parametrize("row", chosen, ids=[row[0] for row in chosen])


@named(VALUES, "both", "to_python", "decode")
def test_reads_the_golden_vector(row: "list[str]") -> None:
    assert vectors.same(decode(bytes.fromhex(row[2])), vectors.value(row[4]))


@named([row for row in VALUES if row[4] != "-"], "both", "to_elixir")
def test_writes_the_golden_vector(row: "list[str]") -> None:
    body, buffers = encode(vectors.value(row[4]))
    assert body.hex() == row[2]
    assert buffers == []


@named(INVALID, "both", "python")
def test_refuses_the_invalid_vector(row: "list[str]") -> None:
    with pytest.raises(DecodeError):
        decode(bytes.fromhex(row[2]))


@given(strategies.values)
@example([float("nan"), -0.0, 2**64, -(2**63) - 1])
def test_a_value_comes_back_the_same(value: Any) -> None:
    body, buffers = encode(value)
    assert buffers == []
    assert vectors.same(decode(body), value)


@given(strategies.values)
def test_a_value_comes_back_the_same_beside_a_binary_that_is_not_utf_8(value: Any) -> None:
    body, _ = encode(value)
    if b"\xc4" in body:  # may be a bin, which the BEAM does not send beside such binaries
        return
    assert vectors.same(decode(b"\x92\xa1\xff" + body), [b"\xff", value])


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_a_value_or_our_error(data: bytes) -> None:
    for buffers in ((), (b"abc",)):
        try:
            decode(data, buffers)
        except DecodeError:
            pass


@given(st.sampled_from([row[2] for row in VALUES if len(row[2]) < 1000]), st.data())
def test_a_vector_cut_short_or_changed_gives_a_value_or_our_error(
    hexed: str, data: st.DataObject
) -> None:
    body = bytearray.fromhex(hexed)
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] = data.draw(st.integers(0, 255))
    for damaged in (bytes(body), bytes.fromhex(hexed)[:at]):
        try:
            decode(damaged)
        except DecodeError:
            pass


def test_each_cut_of_a_vector_is_an_error() -> None:
    for row in VALUES:
        whole = bytes.fromhex(row[2])
        for at in range(min(len(whole), 64)):
            with pytest.raises(DecodeError):
                decode(whole[:at])


class Unknown:
    pass


def _cycle() -> "list[Any]":
    cycle: "list[Any]" = [1]
    cycle.append({"again": cycle})
    return cycle


class BrokenDict(dict):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        raise RuntimeError("no keys today")

    keys = items = __iter__


def _as_in_main(name: str) -> Any:
    return type(name, (), {"__module__": "__main__"})()


class Nested:
    """Goes out as a dict with another one, made for that."""

    def __init__(self, levels: int) -> None:
        self.levels = levels


erlang.register_encoder(
    Nested, lambda it: {"in": Nested(it.levels - 1) if it.levels else Unknown()}
)


@pytest.mark.parametrize(
    ("value", "path", "said"),
    [
        # Classes of a program's own may be called as Python's are.
        (_as_in_main("range"), "result", "'range'"),
        (_as_in_main("BaseException"), "result", "'BaseException'"),
        (Nested(5), 'result["in"]["in"]["in"]["in"]["in"]["in"]', "'test_codec.Unknown'"),
        (Unknown(), "result", "'test_codec.Unknown'"),
        ({"a": [0, 1, 2, Unknown()]}, 'result["a"][3]', "'test_codec.Unknown'"),
        ([(1, {2: {Unknown()}})], "result[0][1][2]{", "'test_codec.Unknown'"),
        ({(1, 2): Unknown()}, "result[(1, 2)]", "'test_codec.Unknown'"),
        (
            [{OK: n} for n in range(8)] + [{OK: Unknown()}],
            "result[8][erlang.Atom('ok')]",
            "'test_codec.Unknown'",
        ),
        ({Unknown: 1}, "result.keys()[<class", "'type'"),
        ("\ud800", "result", "surrogate"),
        (["a", "\ud800"], "result[1]", "surrogate"),
        ({"\ud800": 1}, 'result.keys()["\\\\ud800"]', "surrogate"),
        (1 + 2j, "result", "'complex'"),
        (np.complex128(1), "result", "'numpy.complex128'"),
        (np.array([object()]), "result[0]", "'object'"),
        (np.zeros(1, "V8"), "result", "dtype '|V8'"),
        (datetime.time(1, tzinfo=datetime.timezone.utc), "result", "time zone"),
        (datetime.timedelta.max, "result", "64 bits"),
        ((n for n in [1]), "result", "'generator'"),
        (_cycle(), "result", "contains itself"),
        (np.timedelta64(5, "Y"), "result", "timedelta64(5,'Y')"),
        (np.datetime64("20200-01-01"), "result", "datetime64('20200-01-01')"),
        (sys, "result", "'module'"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_encoding_is_named(value: Any, path: str, said: str) -> None:
    with pytest.raises(EncodeError) as caught:
        encode(value)
    assert caught.value.path.startswith(path)
    assert said in str(caught.value)
    msgpack.packb([str(caught.value), caught.value.path])


@pytest.mark.parametrize("size", [4, 200_000])
@pytest.mark.parametrize(
    "wrap", [lambda v: v, lambda v: (1, v), lambda v: {"a": [b"x" * 70_000, v]}]
)
def test_memoryviews_with_gaps_are_the_bytes_that_they_show(size: int, wrap: Any) -> None:
    data = bytes(range(4)) * (size // 4)
    assert decode(*encode(wrap(memoryview(data)[::2]))) == wrap(data[::2])


class NAType:
    __module__ = "pandas.api.typing"


class NaTType(datetime.datetime):
    __module__ = "pandas.api.typing"


def test_a_zone_of_pytz_keeps_its_name() -> None:
    class Zone(datetime.tzinfo):
        zone = "Europe/Berlin"

        def utcoffset(self, _time: Any) -> datetime.timedelta:
            return datetime.timedelta(hours=1)

        def dst(self, _time: Any) -> datetime.timedelta:
            return datetime.timedelta()

        def tzname(self, _time: Any) -> str:
            return "CET"

    moment = datetime.datetime(2026, 1, 1, tzinfo=Zone())
    back = decode(*encode(moment))
    assert back == moment
    assert back.tzinfo.key == "Europe/Berlin"


def test_what_pandas_has_for_no_value_is_nil() -> None:
    assert decode(*encode([NAType(), {"at": NaTType(2024, 1, 1)}])) == [None, {"at": None}]


@pytest.mark.parametrize(
    ("module", "kind", "instead"),
    [
        ("pandas", "Series", "return its .tolist() or .to_dict(), keep"),
        ("scipy.sparse._base", "_spbase", "return its .toarray(), keep"),
        ("matplotlib.figure", "Figure", "show it in a cell or by display: true, keep"),
    ],
)
def test_a_type_without_a_form_says_what_to_return(module: str, kind: str, instead: str) -> None:
    base = type(kind, (), {"__module__": module})
    with pytest.raises(EncodeError) as caught:
        encode(type("Special", (base,), {"__module__": module})())
    assert instead in str(caught.value)


def test_clocks_of_numpy_that_count_nanoseconds_are_cut_to_microseconds() -> None:
    at = np.datetime64("2024-02-29T12:00:00.123456789")
    moment = datetime.datetime(2024, 2, 29, 12, 0, 0, 123456)
    took, lapse = np.timedelta64(1_500_000_999, "ns"), datetime.timedelta(seconds=1.5)
    missing = np.datetime64("NaT", "ns")
    assert decode(*encode([at, took, missing])) == [moment, lapse, None]
    for array in (np.array([at]), np.ma.array([at], mask=[False])):
        assert decode(*Encoder(find, plain=True).encode(array)) == [moment]


def test_dicts_with_keys_that_only_equal_atoms_are_no_rows() -> None:
    value: "list[Any]" = [{OK: n} for n in range(8)] + [{"ok": 8}]
    keys = [next(iter(item)) for item in decode(*encode(value))]
    assert [type(key) for key in keys] == [erlang.Atom] * 8 + [str]


def test_deep_nesting_is_an_error_not_a_crash() -> None:
    deep: "list[Any]" = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(EncodeError, match="nested deeper"):
        encode(deep)
    while deep:
        deep = deep.pop()


def test_a_packer_serves_again_after_a_failure() -> None:
    encoder = Encoder(find)
    with pytest.raises(EncodeError):
        encoder.encode([1, 2, Unknown()])
    assert encoder.encode([1])[0] == b"\x91\x01"


LARGE = 65_536


@pytest.mark.parametrize("size", [LARGE - 1, LARGE, LARGE + 1])
@pytest.mark.parametrize("make", [bytes, bytearray, lambda n: memoryview(bytes(n))])
@pytest.mark.parametrize(
    "wrap",
    [lambda v: v, lambda v: [v], lambda v: {"a": ({"b": [0, v]},)}, lambda v: [0] * 40 + [v]],
)
def test_bytes_leave_the_body_from_64_kib(size: int, make: Any, wrap: Any) -> None:
    body, buffers = encode(wrap(make(size)))
    assert [memoryview(buffer).nbytes for buffer in buffers] == ([size] if size >= LARGE else [])
    assert decode(body, buffers) == wrap(bytes(size))


@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: ["x", {"a": (v, 1)}], lambda v: [v] * 30])
@pytest.mark.parametrize("letter", ["a", "é", "€", "🐍"])
def test_text_leaves_the_body_from_64_kib(letter: str, wrap: Any) -> None:
    width = len(letter.encode())
    for count in (LARGE // width - 1, LARGE // width + 1):
        value = wrap(letter * count)
        body, buffers = encode(value)
        assert bool(buffers) == (count * width >= LARGE)
        assert all(len(buffer) == count * width for buffer in buffers)
        assert decode(body, buffers) == value


def test_a_plain_binary_out_of_band_is_text_only_if_it_is_utf_8() -> None:
    reference = msgpack.packb(msgpack.ExtType(6, b"\0\0\0\0\0"))
    assert decode(reference, [b"abc"]) == "abc"
    assert decode(reference, [b"\xff"]) == b"\xff"


@pytest.mark.parametrize("data", ["010000000001", "0200000000", "0100000001", "01000000"])
def test_a_wrong_reference_is_an_error(data: str) -> None:
    with pytest.raises(DecodeError):
        decode(msgpack.packb(msgpack.ExtType(6, bytes.fromhex(data))), [b"abc"])


# What the two channels give.
as_received = pytest.mark.parametrize("received", [bytes, lambda data: memoryview(bytearray(data))])


def buffer_reference(kind: int, index: int) -> msgpack.ExtType:
    return msgpack.ExtType(6, struct.pack(">BI", kind, index))


def tensor_of(data: Any, size: int) -> "list[Any]":
    return [msgpack.ExtType(36, b""), "|u1", [size], data]


def test_explicit_bytes_are_not_copied() -> None:
    data = b"x" * LARGE
    assert Decoder().decode(msgpack.packb(buffer_reference(1, 0)), [data]) is data
    # Nor where some other binary makes the whole body be read raw.
    body = b"\x92\xa1\xff" + msgpack.packb(buffer_reference(1, 0))
    assert Decoder().decode(body, [data])[1] is data


def test_bytes_that_a_tensor_owns_alone_are_not_copied() -> None:
    buffers = [b"x" * LARGE]
    address = np.frombuffer(buffers[0], "u1").ctypes.data
    array = Decoder().decode(msgpack.packb(tensor_of(buffer_reference(1, 0), LARGE)), buffers)
    assert array.ctypes.data == address


@as_received
def test_a_large_array_from_elixir_can_be_written_to(received: Any) -> None:
    data = b"x" * LARGE  # held here, so what is written must not show in it
    body = msgpack.packb([tensor_of(buffer_reference(1, 0), LARGE), buffer_reference(1, 1)])
    array, other = Decoder().decode(body, [received(data), data])
    array[0] = 7
    assert array[:2].tolist() == [7, ord("x")]
    assert data == other == b"x" * LARGE


def test_bytes_and_an_array_of_one_frame_are_two_things() -> None:
    references = [buffer_reference(1, 0), tensor_of(buffer_reference(1, 0), LARGE)]
    value, array = Decoder().decode(msgpack.packb(references), [b"x" * LARGE])
    array[0] = 7
    assert value == b"x" * LARGE


@as_received
@pytest.mark.parametrize(("packed", "first"), [(b"\xa1a", "a"), (b"\xa1\xff", b"\xff")])
def test_what_follows_a_tensor_is_what_it_is(packed: bytes, first: Any, received: Any) -> None:
    # The second time all of it is read raw.
    items = [
        tensor_of(msgpack.ExtType(3, b"\1\2"), 2),
        buffer_reference(1, 0),
        tensor_of(buffer_reference(1, 1), 2),
        buffer_reference(0, 2),
        tensor_of(b"\5\6", 2),
        buffer_reference(0, 3),
        msgpack.ExtType(3, b"abc"),
    ]
    body = b"\x98" + packed + b"".join(map(msgpack.packb, items))
    value = Decoder().decode(body, list(map(received, [b"x", b"\3\4", b"y", b"\xfe"])))
    plain = [item.tolist() if isinstance(item, np.ndarray) else item for item in value]
    expected = [first, [1, 2], b"x", [3, 4], "y", [5, 6], b"\xfe", b"abc"]
    assert plain == expected
    assert list(map(type, plain)) == list(map(type, expected))  # a memoryview equals its bytes


def test_the_decoder_keeps_no_buffer_and_leaves_none() -> None:
    decoder, buffers = Decoder(), [b"x" * LARGE]
    decoder.decode(msgpack.packb(buffer_reference(0, 0)), buffers)
    assert buffers == [] == decoder._buffers
    buffers = [b"x" * LARGE]
    with pytest.raises(DecodeError):
        decoder.decode(msgpack.packb(buffer_reference(0, 1)), buffers)
    assert buffers == [] == decoder._buffers


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_large_array_travels_out_of_band_in_c_order(order: Any) -> None:
    array = np.asarray(np.arange(300_000, dtype="f8").reshape(600, 500), order=order)
    body, buffers = encode({"array": array})
    assert len(body) < 100
    assert vectors.same(decode(body, buffers), {"array": array})


def test_a_large_contiguous_array_is_not_copied() -> None:
    array = np.zeros(1 << 18)
    _, (buffer,) = encode(array)
    assert np.shares_memory(np.frombuffer(buffer), array)


def test_an_array_from_elixir_can_be_written_to() -> None:
    body, buffers = encode(np.arange(4))
    array = decode(body, buffers)
    array[0] = 7
    assert array.tolist() == [7, 1, 2, 3]


@pytest.mark.parametrize("dtype", ["?", "i1", "u8", "f2", "f4", "c8", "<M8[ns]", "<m8[s]", ">f8"])
def test_each_dtype_comes_back(dtype: str) -> None:
    array = np.array([0, 1, 1], "i8").astype(dtype)
    assert vectors.same(decode(*encode(array)), array)


def test_the_erlang_face_gets_lists() -> None:
    value = {"a": np.arange(4).reshape(2, 2), "s": {1}, "f": frozenset(), "z": np.array(1.5)}
    body, buffers = encode(value, plain=True)
    assert decode(body, buffers) == {"a": [[0, 1], [2, 3]], "s": [1], "f": [], "z": 1.5}


def test_text_and_masked_arrays_become_lists() -> None:
    masked = np.ma.masked_array([1, 2], mask=[False, True])
    body, _ = encode([np.array(["a", "b"]), masked])
    assert decode(body) == [["a", "b"], [1, None]]


def test_many_large_items_and_look_alikes_come_back() -> None:
    # Floats and strings whose bytes look like headers of large data.
    look_alike = [b"\xc6\x00\x01\x00\x00" * 20] * 1000 + ["x\0" * 100] * 500
    value = [*look_alike, b"x" * LARGE, {"t": ("y" * LARGE, [bytearray(LARGE)])}]
    body, buffers = encode(value)
    assert len(buffers) == 3
    assert decode(body, buffers) == [
        *look_alike,
        b"x" * LARGE,
        {"t": ("y" * LARGE, [bytes(LARGE)])},
    ]


def test_a_large_body_is_searched_in_one_go() -> None:
    body = msgpack.packb(["short"] * 12_000_000)

    def took(step: Any) -> float:
        begun = time.thread_time()
        assert not step()
        return time.thread_time() - begun

    searched = min(took(lambda: _encoder._may_hold_large_data(body)) for _ in range(3))
    # Two bytes of our own choice are looked for as fast as Python can: as fast as the search with 3.11,
    # six times as fast with 3.14. A walk through the bytes takes a hundred times as long.
    assert searched < 20 * took(lambda: body.count(b"\xc6\0"))


@pytest.mark.parametrize("size", [1 << 16, 1 << 24, (1 << 24) + 1, 3 << 24])
@pytest.mark.parametrize("make", [bytes, lambda size: "x" * size])
def test_large_data_is_found_at_any_depth(size: int, make: Any) -> None:
    body, buffers = encode([{"deep": [[make(size)], 1]}])
    assert len(body) < 100
    assert [len(buffer) for buffer in buffers] == [size]


@pytest.mark.parametrize("arguments", [[[bytes(1 << 22)], None], [[], {"data": bytes(1 << 22)}]])
def test_large_arguments_of_a_callback_are_not_packed(arguments: Any) -> None:
    encoder = Encoder(find, parts=True)
    tracemalloc.start()
    try:
        _, buffers = encoder.encode([1, "f", *arguments])
        assert tracemalloc.get_traced_memory()[1] < 1 << 21
    finally:
        tracemalloc.stop()
    assert [len(buffer) for buffer in buffers] == [1 << 22]


def test_the_order_of_keys_is_kept() -> None:
    keys = [f"k{n}" for n in range(50, 0, -1)]
    assert list(decode(encode(dict.fromkeys(keys))[0])) == keys


def test_atoms_are_kept_in_bounded_caches() -> None:
    from erlang import _encoders
    from erlang_python_worker import _extensions

    for number in range(10_000):
        assert decode(encode(erlang.Atom(f"a{number}"))[0]) == f"a{number}"
    assert len(_extensions.atoms) <= 4_096
    assert len(_encoders.atoms) <= 4_096


def test_converters_are_kept_in_a_bounded_cache() -> None:
    from erlang import _encoders

    for _ in range(2_000):
        encode(type("T", (list,), {})())
    assert len(_encoders.resolved) <= 1_024


def test_a_signalling_nan_is_a_nan() -> None:
    assert decode(encode(decimal.Decimal("sNaN"))[0]).is_qnan()


def test_long_lists_of_floats_are_known_as_such() -> None:
    floats = [1e-300, 2.5e17] * 5_000
    assert vectors.same(decode(*encode(floats)), floats)
    mixed = [1.5] * 20_000 + [b"x" * LARGE]
    body, buffers = encode(mixed)
    assert len(buffers) == 1
    assert decode(body, buffers) == mixed
