from typing import Any

from peer import EVAL, EXEC, RESULT, Peer

DROP_CONTEXT = 0x0C


def run(peer: Peer, kind: int, code: str, context: int) -> Any:
    return peer.request(kind, [code, None, None, 1, 0, context])


def test_each_context_has_names_of_its_own(shared: Peer) -> None:
    for context in (1, 2):
        assert run(shared, EXEC, f"x = {context}", context).type == RESULT
    assert [run(shared, EVAL, "x", context).body for context in (1, 2)] == [1, 2]
    assert shared.value("'x' in globals()") is False


def test_what_comes_after_the_end_of_a_context_finds_no_empty_one(shared: Peer) -> None:
    assert run(shared, EXEC, "x = 1", 3).type == RESULT
    assert shared.request(DROP_CONTEXT, [3]).body is None
    assert run(shared, EVAL, "x", 3).error == ("context", [])
    assert run(shared, EXEC, "x = 1", 3).error == ("context", [])


def test_wrong_contexts_are_protocol_errors(shared: Peer) -> None:
    assert shared.request(EVAL, ["1", None, None, 1, 0, "a"]).error[0] == "protocol"
    assert shared.request(DROP_CONTEXT, []).error[0] == "protocol"
