import os
import struct
import sys
from typing import Callable

import msgpack
import pytest

import vectors
from peer import (
    CALL,
    EVAL,
    EXEC,
    FAILED,
    FLUSH,
    KEPT,
    READY,
    RESULT,
    RUN,
    SHUTDOWN,
    Callback,
    Failure,
    Message,
    Peer,
)

MESSAGES = {
    row[0]: [bytes.fromhex(f) for f in row[2].split()] for row in vectors.rows("messages.tsv")
}


@pytest.mark.parametrize("channels", ["direct", "pyzmq"])
def test_hello_says_who_is_there(start: "Callable[..., Peer]", channels: str) -> None:
    worker = start(channels=channels)
    assert worker.set_up().type == READY
    hello = worker.hello.body
    assert hello["protocol"] == 1
    assert hello["pid"] == worker.process.pid
    assert hello["python"] == ".".join(map(str, sys.version_info[:3]))
    assert hello["implementation"] == "CPython"
    assert (hello["executable"], hello["prefix"]) == (sys.executable, sys.prefix)
    assert hello["msgpack_compiled"] is True
    expected = msgpack.unpackb(MESSAGES["HELLO"][0][9:])
    assert list(hello) == list(expected)
    if channels == "direct":
        expected.update(channel="direct", pyzmq=None, libzmq=None)
    assert hello["channel"] == channels
    assert list(map(type, hello.values())) == list(map(type, expected.values()))


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("CALL", 4.0),
        ("CALL with kwargs", 255),
        ("CALL with the largest id", 0),
        ("CALL with a buffer", 8),
        ("CALL with two buffers", 2),
        ("EVAL", 2),
        ("EXEC", None),
        ("RUN", 4),
        ("RELEASE", None),
    ],
)
def test_the_golden_request_is_answered(shared: Peer, name: str, result: object) -> None:
    frames = MESSAGES[name]
    shared.send_frames(*frames)
    end = shared.end(struct.unpack(">Q", frames[0][1:9])[0])
    assert (end.type, end.body) == (RESULT, result)


def golden(name: str) -> Message:
    return Message(MESSAGES[name])


def test_the_golden_stream_is_served(shared: Peer) -> None:
    for request, end in [("STREAM_CALL", "OPENED"), ("PULL", "RESULT of a pull")]:
        shared.send_frames(*MESSAGES[request])
        message = shared.end(golden(request).id)
        assert (message.type, message.raw) == (golden(end).type, golden(end).raw)
    shared.control(FLUSH, golden("FLUSH").id)
    assert shared.receive("/control").raw == golden("FLUSHED without a pull").raw
    shared.send_frames(*MESSAGES["CLOSE"])
    assert shared.end(golden("CLOSE").id).body is None


def test_the_golden_call_of_a_method(shared: Peer) -> None:
    shared.send_frames(*MESSAGES["EVAL that keeps its value"])
    kept = shared.end(golden("EVAL that keeps its value").id)
    name, kind = kept.body
    assert (kept.type, [name[8:], kind]) == (KEPT, [golden("KEPT").body[0][8:], "list"])
    [call] = MESSAGES["CALL of a method"]
    for answer in (1, ["released", []]):
        shared.send_frames(call.replace(golden("KEPT").body[0], name))
        assert shared.end(golden("CALL of a method").id).body == answer
        shared.send_frames(*MESSAGES["RELEASE"])
        assert shared.end(golden("RELEASE").id).body is None


def test_what_code_sends_is_golden(shared: Peer) -> None:
    code = "import erlang; erlang.call('add', 1, 2); erlang.cast('note', 'hello')\n"
    code += "erlang.send(pid, 'hello'); erlang.state_get('key')"
    shared.send(RUN, 7, [code, {"pid": golden("SEND").body[0]}, None, 1, 0])
    for name in ("CALLBACK", "CAST", "SEND", "SERVICE"):
        message = shared.receive()
        assert (message.type, message.raw) == (golden(name).type, golden(name).raw)
        if name in ("CALLBACK", "SERVICE"):
            shared.answer(Callback(message), [True, "value"])
    assert shared.end(7).body == "value"


def test_the_golden_setup_is_taken(start: "type[Peer]") -> None:
    peer = start()
    peer.receive()
    peer.send_frames(*MESSAGES["SETUP"])
    assert peer.receive().type == READY
    assert peer.value("import sys; [sys.path[0], 'json' in sys.modules, a]") == [
        "/opt/app",
        True,
        1,
    ]


def test_the_golden_ping_is_answered(shared: Peer) -> None:
    assert 1 << 20 < shared.ping()["rss"] < 1 << 30
    # The end of the request before may be here before the worker has noted it.
    assert shared.settles(lambda: shared.ping(2**64 - 1)["running"] == 0)


@pytest.mark.parametrize(
    ("module", "function", "args", "result"),
    [
        ("os.path", "join", ["a", "b"], "a/b"),
        ("pathlib", "Path.cwd", [], os.getcwd()),
        ("builtins", "len", [[1, 2]], 2),
        ("xml.etree.ElementTree", "XML.__name__", [], None),
        ("xml", "sax.saxutils.escape", ["<"], "&lt;"),
        ("datetime", "date.fromordinal", [1], msgpack.ExtType(7, struct.pack(">i", -719162))),
        ("__main__", "erlang.Atom", ["ok"], msgpack.ExtType(1, b"ok")),
    ],
)
def test_call_finds_the_function(
    shared: Peer, module: str, function: str, args: "list[object]", result: object
) -> None:
    end = shared.call(module, function, *args)
    if result is None:
        assert Failure(end.error[1]).message == "'str' object is not callable"
    else:
        assert (end.type, end.body) == (RESULT, result)


@pytest.mark.parametrize(
    ("module", "function", "kind", "message"),
    [
        ("no_such_module", "f", "ModuleNotFoundError", "No module named 'no_such_module'"),
        ("math", "no_such", "AttributeError", "module 'math' has no attribute 'no_such'"),
        ("xml", "no_such.f", "AttributeError", "module 'xml' has no attribute 'no_such'"),
        ("builtins", "len", "TypeError", "len() takes exactly one argument (0 given)"),
    ],
)
def test_call_names_what_is_missing(
    shared: Peer, module: str, function: str, kind: str, message: str
) -> None:
    failure = Failure(shared.call(module, function).error[1])
    assert (failure.type, failure.message) == (kind, message)


def test_a_patched_function_counts_at_once(worker: Peer) -> None:
    assert worker.call("math", "floor", 1.5).body == 1
    worker.value("import math; math.floor = lambda x: 'patched'")
    assert worker.call("math", "floor", 1.5).body == "patched"


def test_setup_failure_is_told_and_ends_the_worker(start: "type[Peer]") -> None:
    peer = start()
    failed = peer.set_up(preload=[["code", "x = 1"], ["code", "1 / 0"]])
    assert failed.type == FAILED
    assert Failure(failed.body).type == "ZeroDivisionError"
    assert peer.exit_status() == 1


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "import no_such_module", "x ="])
def test_preload_that_exits_or_does_not_compile_is_a_failure(
    start: "type[Peer]", code: str
) -> None:
    peer = start()
    assert peer.set_up(preload=[["code", code]]).type == FAILED
    assert peer.exit_status() == 1


def test_paths_come_first_and_ours_last(start: "type[Peer]", tmp_path: "os.PathLike[str]") -> None:
    peer = start()
    assert peer.set_up(paths=[str(tmp_path), "/b"]).type == READY
    path = peer.value("import sys; sys.path")
    assert path[:2] == [str(tmp_path), "/b"]
    assert path[-1].endswith("priv/python")
    assert sum(entry.endswith("priv/python") for entry in path) == 1


def test_the_erlang_face_gets_lists(shared: Peer) -> None:
    assert shared.code(EVAL, "{1}", face=1).body == [1]
    assert shared.code(EVAL, "{1}").body == [msgpack.ExtType(33, b""), 1]


def test_large_data_goes_there_and_back(shared: Peer) -> None:
    reference = msgpack.ExtType(6, b"\1\0\0\0\0")
    data = os.urandom(10_000_000)
    end = shared.request(CALL, ["builtins", "list", [[reference]], None, 0], [data])
    assert (end.body, end.buffers) == ([reference], [data])


def test_an_array_changed_after_it_was_returned_arrives_as_it_was(shared: Peer) -> None:
    shared.value("import numpy; array = numpy.zeros(1 << 20); 0")
    first = shared.begin_code(EVAL, "array")
    second = shared.begin_code(EXEC, "array[:] = 1")
    assert not any(shared.end(first).buffers[0])
    shared.end(second)


def test_a_result_over_the_limit_is_too_large(start: "type[Peer]") -> None:
    peer = start()
    peer.set_up(max_message_size=1_000)
    assert peer.value("'x' * 988") == "x" * 988  # 9 of head, 3 of str 16
    assert peer.code(EVAL, "'x' * 989").error == ("too_large", [1_001, 1_000])
    assert peer.code(EVAL, "b'x' * 70000").error == ("too_large", [70_017, 1_000])
    long = Failure(peer.code(EVAL, "int('x' * 3000)").error[1])
    assert long.type == "ValueError"


def test_a_result_without_an_encoding_is_named(shared: Peer) -> None:
    kind, payload = shared.code(EVAL, "{'a': [0, object()]}").error
    assert (kind, payload) == (
        "encode",
        [
            "cannot send a value of type 'object' to Elixir: return plain data, keep it in Python "
            "(return: :ref), or register an encoder for the type (erlang.register_encoder)",
            'result["a"][1]',
        ],
    )
    assert shared.value("1") == 1


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", "decode"),
        (b"\xc1", "decode"),
        (b"\x91", "decode"),
        (b"\x01", "protocol"),
        (b"\x91\x01", "protocol"),
        (msgpack.packb(["math", "sqrt", {}, None, 0]), "protocol"),
        (msgpack.packb([1, "sqrt", [], None, 0]), "protocol"),
    ],
)
def test_a_wrong_body_is_an_error_of_its_request(shared: Peer, raw: bytes, kind: str) -> None:
    shared.send(CALL, 12345, raw=raw)
    assert shared.end(12345).error[0] == kind
    assert shared.value("1") == 1


@pytest.mark.parametrize(
    "body", [["1", None, None, 0, 0], [1, None, None, 1, 0], ["1", [], None, 1, 0], ["1"]]
)
@pytest.mark.parametrize("kind", [EVAL, EXEC, RUN])
def test_wrong_code_messages_are_protocol_errors(shared: Peer, kind: int, body: object) -> None:
    assert shared.request(kind, body).error[0] == "protocol"


@pytest.mark.parametrize("frames", [[b""], [b"\x01"], [b"\x3f" + bytes(8)], [b"\x3f", b"x"]])
def test_rubbish_does_not_stop_the_worker(shared: Peer, frames: "list[bytes]") -> None:
    if len(frames) == 1:
        shared.send_frames(*frames)
        assert shared.receive().error[0] == "protocol"
    shared.send(0x3F, 99)
    assert shared.end(99).error == ("protocol", ["unknown message type 0x3f"])


def test_an_iterator_as_a_result_is_told_to_be_a_stream(shared: Peer) -> None:
    kind, (message, path) = shared.request(EVAL, ["[iter('a')]", None, None, 1, 0]).error
    assert (kind, path) == ("encode", "result[0]")
    assert message.endswith(
        "read it as a stream (ErlangPython.stream, py:stream), or return a list"
    )


def test_shutdown_while_idle_runs_atexit(worker: Peer) -> None:
    worker.value("import atexit; atexit.register(print, 'bye'); 0")
    worker.control(SHUTDOWN, 0)
    worker.wait_line(b"bye")
    assert worker.exit_status() == 0


@pytest.mark.parametrize("channels", ["direct", "pyzmq"])
def test_shutdown_is_quick(start: "Callable[..., Peer]", channels: str) -> None:
    for _ in range(10):  # it comes in the middle of anything
        worker = start(channels=channels)
        assert worker.set_up().type == READY
        worker.control(SHUTDOWN, 0)
        assert worker.exit_status() == 0


def test_shutdown_lets_the_request_that_runs_end(worker: Peer) -> None:
    number = worker.begin_code(RUN, UNTIL_SHUTDOWN)
    worker.wait_line(b"in")
    worker.begin_code(EXEC, "print('never')")
    worker.control(SHUTDOWN, 0)
    assert worker.end(number).buffers == [b"x" * 100_000]
    assert worker.exit_status() == 0
    assert worker.process.stdout is not None
    assert worker.process.stdout.read() == b""


UNTIL_SHUTDOWN = """
import erlang._request
print("in")
while not erlang._request._current.__self__.stopping:
    pass
"x" * 100_000
"""


def test_setup_replays_requests_in_order(start: "Callable[..., Peer]") -> None:
    steps = [
        (EXEC, ["seen = []\nasync def late(n): seen.append(n)", None, None, 1, 0], []),
        (CALL, ["__main__", "late", [1], None, 0], []),
        (EVAL, ["seen.append(x)", {"x": msgpack.ExtType(6, bytes(5))}, None, 1, 0], [b"data"]),
    ]
    replay = [[kind, msgpack.packb(body), buffers] for kind, body, buffers in steps]
    peer = start()
    assert peer.set_up(replay=replay).type == READY
    assert peer.value("[1, 'data'] == seen") is True


def test_a_replayed_request_that_raises_fails_the_setup(start: "Callable[..., Peer]") -> None:
    body = msgpack.packb(["1 / 0", None, None, 1, 0])
    peer = start()
    failed = peer.set_up(replay=[[EVAL, body, []]])
    assert failed.type == FAILED
    assert Failure(failed.body).type == "ZeroDivisionError"
    assert peer.exit_status() == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process knows its peak alone")
@pytest.mark.parametrize("channels", ["direct", "pyzmq"])
def test_what_a_request_came_with_goes_with_it(start: "Callable[..., Peer]", channels: str) -> None:
    peer = start(channels=channels)
    peer.set_up()
    before = peer.ping()["rss"]
    assert peer.code(RUN, "len(x)", x=bytes(100_000_000)).body == 100_000_000
    # No further request: a worker may have nothing to do for long.
    assert peer.settles(lambda: peer.ping()["rss"] < before + 50_000_000)
