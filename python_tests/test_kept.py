from typing import Any

import msgpack

from peer import CALL, ERROR, EVAL, EXEC, RESULT, RUN, Message, Peer

RELEASE, DETACHED, KEPT = 0x0D, 0x17, 0x1F
KEEP = 2


def keep(peer: Peer, text: str) -> Message:
    return peer.code(EVAL, text, face=KEEP)


def name(kept: Message) -> msgpack.ExtType:
    assert kept.type == KEPT, kept
    return msgpack.ExtType(13, kept.body[0])


def count(peer: Peer) -> int:
    return int(peer.value("len(__import__('erlang_python_worker._kept', fromlist=['kept']).kept)"))


def use(peer: Peer, text: str, value: Any) -> Message:
    return peer.code(EVAL, text, x=value)


def test_the_end_names_the_object_and_its_class(shared: Peer) -> None:
    kept = keep(shared, "[1]")
    assert kept.type == KEPT
    wire_name, kind = kept.body
    assert len(wire_name) == 16
    assert wire_name[8:] == kept.id.to_bytes(8, "big")
    assert kind == "list"
    assert use(shared, "x[0]", name(kept)).body == 1
    assert use(shared, "x['a'] is x['b'][0]", {"a": name(kept), "b": [name(kept)]}).body is True


def test_a_method_is_called_of_an_object_in_the_place_of_the_module(shared: Peer) -> None:
    kept = keep(shared, "[3, 1, 2]")
    call = [[name(kept)], "sort", [], {"reverse": True}, 0]
    assert shared.request(CALL, call).body is None
    assert shared.request(CALL, [[name(kept)], "index", [1], None, 0]).body == 2
    # An object that is a str is no module.
    text = keep(shared, "'math'")
    assert shared.request(CALL, [[name(text)], "upper", [], None, 0]).body == "MATH"
    for module in ([], [name(kept), 1], 5, None):
        assert shared.request(CALL, [module, "sort", [], None, 0]).error[0] == "protocol"


def test_release_lets_it_go(shared: Peer) -> None:
    shared.code(EXEC, "import weakref\nclass A: pass\n")
    before = count(shared)
    kept = [keep(shared, "A()") for _ in range(3)]
    shared.code(EXEC, "alive = weakref.ref(x)", x=name(kept[0]))
    assert count(shared) == before + 3
    ids = [one.id for one in kept]
    assert shared.request(RELEASE, [ids[:2]]).body is None
    assert count(shared) == before + 1
    assert shared.value("alive() is None") is True
    assert use(shared, "x", name(kept[0])).error == ("released", [])
    assert use(shared, "[x]", [1, name(kept[1])]).error == ("released", [])
    assert shared.request(RELEASE, [[*ids, 1 << 63]]).body is None
    assert count(shared) == before
    assert shared.request(RELEASE, []).error[0] == "protocol"
    assert shared.request(RELEASE, [1]).error[0] == "protocol"


def test_a_name_of_another_process_is_refused(shared: Peer) -> None:
    mine = name(keep(shared, "1"))
    other = msgpack.ExtType(13, bytes(8) + mine.data[8:])
    kind, payload = use(shared, "x", other).error
    assert kind == "decode"
    assert "another worker" in payload[0]
    assert use(shared, "x", msgpack.ExtType(13, b"short")).error[0] == "decode"


def test_what_has_no_encoding_is_kept_too(shared: Peer) -> None:
    for text, kind in (
        ("object()", "object"),
        ("(n for n in [])", "generator"),
        ("type('A', (), {'__qualname__': 'A\\ud800'})()", "A?"),
    ):
        assert keep(shared, text).body[1] == kind


def test_an_exception_keeps_nothing(shared: Peer) -> None:
    before = count(shared)
    assert keep(shared, "1 / 0").type == ERROR
    assert count(shared) == before


def test_the_value_of_a_coroutine_is_kept(shared: Peer) -> None:
    number = shared.begin(RUN, ["import asyncio\nawait asyncio.sleep(0, [5])", None, None, 1, KEEP])
    assert shared.end(number).type == DETACHED
    end = shared.receive_from_any()
    assert end.id == number
    assert use(shared, "x", name(end)).body == [5]


def test_a_request_that_was_cancelled_keeps_nothing(worker: Peer) -> None:
    ends = set()
    for _ in range(200):
        number = worker.begin(EVAL, ["[0] * 100", None, None, 1, KEEP])
        state = worker.cancel(number)
        if state == "revoked":
            continue
        end = worker.end(number)
        ends.add(end.type)
        if end.type == KEPT:
            assert worker.request(RELEASE, [[number]]).type == RESULT
    assert count(worker) == 0
    assert ends <= {KEPT, 0x16}


def test_a_thread_beside_the_waiting_main_thread_serves_it(worker: Peer) -> None:
    kept = name(keep(worker, "[1]"))
    waiting = worker.begin_code(EVAL, "erlang.call('f')")
    call = worker.callback("f")
    # The answer may need it, and no other worker has it.
    number = worker.begin(EVAL, ["len(x)", {"x": kept}, None, 1, 0])
    end = worker.receive_from_any()
    assert (end.id, end.body) == (number, 1)
    worker.answer(call, 5)
    assert worker.end(waiting).body == 5
