"""What requests print: docs/protocol.md, "Output"."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from peer import (
    CANCELLED,
    EXEC,
    LOG,
    OUTPUT,
    READY,
    RESULT,
    RUN,
    SERVICE,
    STREAM_EVAL,
    Callback,
    Message,
    Peer,
)

# Python 3.12 and newer warn of forks beside threads, of which a worker has one of its own.
FORK = "import os, warnings\nwarnings.simplefilter('ignore')\npid = os.fork()\n"


@pytest.fixture(params=["direct", "pyzmq"])
def caller(request: pytest.FixtureRequest) -> Iterator[Peer]:
    peer = Peer(channels=request.param)
    try:
        assert peer.set_up(stdout="caller").type == READY
        yield peer
    finally:
        peer.close()


def outputs(peer: Peer, number: int, channel: str = "") -> tuple[list[list[object]], Message]:
    """What a request has printed, and its end."""
    printed: list[list[object]] = []
    while True:
        message = peer.receive(channel)
        assert message.id == number
        if message.type != OUTPUT:
            return printed, message
        printed.append(message.body)


def run(peer: Peer, text: str, kind: int = RUN) -> tuple[list[list[object]], Message]:
    return outputs(peer, peer.begin_code(kind, text))


def texts(peer: Peer, text: str) -> list[object]:
    printed, end = run(peer, text)
    assert end.type == RESULT, end
    return [text for _stream, text in printed]


def test_lines_come_as_they_end_and_the_rest_before_the_end(caller: Peer) -> None:
    code = "import sys\nprint('a', 'b')\nsys.stderr.write('e1\\ne2\\nhalf')\nprint('é', end='')\n7"
    printed, end = run(caller, code)
    assert printed == [[1, "a b\n"], [2, "e1\ne2\n"], [1, "é"], [2, "half"]]
    assert (end.type, end.body) == (RESULT, 7)


PIECES = {
    "one long line": "shutil.copyfileobj(io.BytesIO(('a' + text).encode()), out)",
    "single bytes": "[out.write(bytes([byte])) for byte in text.encode()]",
    "a flush within": "[(out.write(bytes([byte])), out.flush()) for byte in text[:9].encode()]",
}


@pytest.mark.parametrize("how", PIECES)
def test_characters_that_are_written_in_pieces_stay_whole(caller: Peer, how: str) -> None:
    code = f"import io, shutil, sys\nout, text = sys.stdout.buffer, 'é€𐍈' * 30_000\n{PIECES[how]}"
    printed = "".join(str(text) for text in texts(caller, code))
    assert set(printed) - {"a"} == set("é€𐍈")
    # What has no end is shown as the mark of Unicode.
    assert texts(caller, "out.write('é'.encode()[:1])") == ["\ufffd"]


def test_it_comes_while_the_request_runs(caller: Peer) -> None:
    number = caller.begin_code(EXEC, "import time\nprint('in')\ntime.sleep(60)")
    message = caller.receive()
    assert (message.type, message.id, message.body) == (OUTPUT, number, [1, "in\n"])
    caller.cancel(number)
    assert outputs(caller, number)[1].type == CANCELLED


def test_flush_sends_what_there_is(caller: Peer) -> None:
    code = "print('a', end='')\nprint('b', end='', flush=True)\nsys.stdout.flush()\nprint('c')"
    assert texts(caller, "import sys\n" + code) == ["ab", "c\n"]


def test_many_pieces_do_not_wait_for_a_line_end(caller: Peer) -> None:
    assert texts(caller, "for _ in range(100): print('x', end='')") == ["x" * 64, "x" * 36]


def test_long_texts_are_cut_between_characters(caller: Peer) -> None:
    printed = texts(caller, "print('é€🎉' * 20_000)")
    assert len(printed) > 5
    assert "".join(map(str, printed)) == "é€🎉" * 20_000 + "\n"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("sys.stdout.buffer.write('é\\n'.encode())", ["é\n"]),
        ("sys.stdout.buffer.write(b'\\xc3')\nsys.stdout.buffer.write(b'\\xa9\\n')", ["é\n"]),
        ("sys.stdout.buffer.write(b'\\xff\\n')", ["\ufffd\n"]),
        ("sys.stdout.writelines(['a\\n', 'b\\n'])", ["a\n", "b\n"]),
        ("print('\\ud800')", ["\\ud800\n"]),
        ("sys.stdout.write('')", []),
        ("sys.__stdout__.write('x\\n')", ["x\n"]),
        ("sys.stderr.reconfigure(encoding='latin-1'); print('é')", ["é\n"]),
    ],
)
def test_streams_take(caller: Peer, code: str, expected: list[str]) -> None:
    assert texts(caller, "import sys\n" + code) == expected


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("[sys.stdout.fileno(), sys.stderr.fileno()]", [1, 2]),
        ("[sys.stdout.buffer.fileno(), sys.stdout.buffer.isatty()]", [1, False]),
        (
            "[sys.stdout.isatty(), sys.stdout.writable(), sys.stdout.readable()]",
            [False, True, False],
        ),
        ("[sys.stdout.encoding, sys.stdout.name, sys.stdout.mode]", ["utf-8", "<stdout>", "w"]),
        ("[sys.stdout.write('éa'), sys.stdout.buffer.write(bytearray(b'12'))]", [2, 2]),
        ("sys.stdout.closed", False),
    ],
)
def test_streams_are_as_programs_expect_them(caller: Peer, code: str, value: object) -> None:
    assert run(caller, f"import sys\n{code}")[1].body == value


@pytest.mark.parametrize("code", ["sys.stdout.write(b'x')", "sys.stdout.buffer.write('x')"])
def test_wrong_types_are_refused(caller: Peer, code: str) -> None:
    end = run(caller, "import sys\n" + code)[1]
    assert end.error[1][1] == "TypeError"


def test_a_program_may_wrap_the_buffer_each_time_that_it_runs(caller: Peer) -> None:
    code = (
        "import io, sys\n"
        "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')\n"
        "print('é', end='')"
    )
    for _ in range(3):
        assert texts(caller, code) == ["é"]
    assert texts(caller, "print('later')") == ["later\n"]
    assert texts(caller, "sys.stdout = sys.__stdout__\nprint('back')") == ["back\n"]


def test_a_stream_that_was_closed_says_so(caller: Peer) -> None:
    code = "import sys\nsys.stdout.close()\ntry:\n    print('x')\nexcept ValueError as e:\n    r = str(e)\nr"
    assert run(caller, code)[1].body == "I/O operation on closed file."
    assert run(caller, "2")[1].body == 2


def test_lines_of_threads_stay_whole_and_come_before_the_end(caller: Peer) -> None:
    code = """
import threading
def work(n):
    for i in range(500):
        print(n, end=" "), print(i)
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for t in threads: t.start()
for t in threads: t.join()
"""
    lines = "".join(map(str, texts(caller, code))).splitlines()
    for n in range(4):
        assert [line for line in lines if line.startswith(f"{n} ")] == [
            f"{n} {i}" for i in range(500)
        ]
    assert len(lines) == 2_000


def test_threads_print_while_the_main_thread_sends(caller: Peer) -> None:
    # Large results and prints at once: no message may be torn.
    code = """
import threading
stop = threading.Event()
def work():
    while not stop.is_set(): print("noise")
thread = threading.Thread(target=work)
thread.start()
"""
    run(caller, code)
    # The noise comes on the descriptor, since its request has ended.
    assert caller.process.stdout is not None
    threading.Thread(target=caller.process.stdout.read, daemon=True).start()
    more = "t = [threading.Thread(target=print, args=('own' * 50,)) for _ in range(20)]\n"
    more += "for x in t: x.start()\nb'z' * 3_000_000"
    for _ in range(20):
        printed, end = run(caller, more)
        assert list(map(len, end.buffers)) == [3_000_000]
        assert all(text == "own" * 50 + "\n" for _stream, text in printed)
    run(caller, "stop.set()\nthread.join()")


def test_coroutines_print_on_their_channel(caller: Peer) -> None:
    code = """
import asyncio
async def f():
    print("a")
    await asyncio.to_thread(print, "b") if hasattr(asyncio, "to_thread") else print("b")
    print("c", end="")
f()
"""
    number = caller.begin_code(RUN, code)
    assert caller.end(number).type == 0x17
    printed, end = outputs(caller, number, "/a1")
    assert "".join(str(text) for _stream, text in printed) == "a\nb\nc"
    assert end.type == RESULT


def test_streams_print_for_the_pull(caller: Peer) -> None:
    number = caller.begin(STREAM_EVAL, ["(print(n) for n in range(1))", None, None, 1, 0])
    printed, _end = outputs(caller, number)
    assert printed == [[1, "0\n"]]


def test_preload_prints_to_the_descriptor(start: type[Peer]) -> None:
    peer = start()
    assert peer.set_up(stdout="caller", preload=[["code", "print('early')"]]).type == READY
    peer.wait_line(b"early")


def test_late_prints_go_to_the_descriptor(caller: Peer) -> None:
    code = "import threading\ngo = threading.Event()\n"
    code += "t = threading.Thread(target=lambda: (go.wait(), print('late')))\nt.start()"
    assert texts(caller, code) == []
    assert texts(caller, "go.set()\nt.join()\nprint('mine')") == ["mine\n"]
    caller.wait_line(b"late")


def test_forked_children_print_to_the_descriptor(caller: Peer) -> None:
    code = f"print('half', end='')\n{FORK}"
    code += "if pid == 0:\n    print('child')\n    os._exit(0)\nos.waitpid(pid, 0)[1]"
    assert texts(caller, code) == ["half"]
    caller.wait_line(b"child")


def test_destructors_and_signal_handlers_print_in_the_middle_of_anything(caller: Peer) -> None:
    code = """
import gc, signal, sys
class Noisy:
    def __init__(self): self.me = self
    def __del__(self): print("gone")
signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
gc.set_threshold(1)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
for n in range(3_000):
    Noisy()
    print("line", n)
signal.setitimer(signal.ITIMER_REAL, 0)
gc.set_threshold(700, 10, 10)
gc.collect()
b"z" * 1_000_000
"""
    printed, end = run(caller, code)
    assert len(end.buffers[0]) == 1_000_000
    # A destructor may print within a line, as on any stream; nothing may get lost.
    text = "".join(str(text) for _stream, text in printed)
    assert text.count("gone") == text.count("line") == 3_000
    assert text.count("\n") == 6_000 + text.count("alarm")


def test_floods_do_not_stop_cancels(caller: Peer) -> None:
    number = caller.begin_code(EXEC, "while True: print('x' * 1000)")
    assert caller.receive().type == OUTPUT
    caller.control(0x21, number, True)
    assert outputs(caller, number)[1].type == CANCELLED
    assert caller.value("1") == 1


# `logging`


def logged(peer: Peer, code: str) -> list[list[object]]:
    number = peer.begin_code(RUN, "import logging\n" + code)
    records: list[list[object]] = []
    while True:
        message = peer.receive()
        if message.type != LOG:
            assert message.type == RESULT, message
            return records
        assert message.id == number
        records.append(message.body)


@pytest.mark.parametrize(
    ("code", "level", "name", "text"),
    [
        ("logging.warning('hot %d', 3)", 30, "root", "hot 3"),
        ("logging.getLogger('a.b').error('é')", 40, "a.b", "é"),
        ("logging.critical('\\ud800')", 50, "root", "\\ud800"),
        (
            "import warnings\nlogging.captureWarnings(True)\nwarnings.warn('old')",
            30,
            "py.warnings",
            "old",
        ),
    ],
)
def test_records_are_sent(caller: Peer, code: str, level: int, name: str, text: str) -> None:
    ((number, logger, message, file, line, function, exception),) = logged(caller, code)
    assert (number, logger, exception) == (level, name, None)
    assert text in str(message)
    assert isinstance(file, str)
    assert isinstance(line, int)
    assert isinstance(function, str)


def test_levels_are_those_of_logging(caller: Peer) -> None:
    assert logged(caller, "logging.info('quiet')") == []
    code = "logging.getLogger().setLevel('DEBUG')\nlogging.debug('a')\nlogging.log(25, 'b')"
    assert [record[0] for record in logged(caller, code)] == [10, 25]


def test_exceptions_come_with_their_traceback(caller: Peer) -> None:
    code = "try:\n    1 / 0\nexcept Exception:\n    logging.exception('no')"
    ((_level, _name, message, _file, line, _function, exception),) = logged(caller, code)
    assert (message, line) == ("no", 5)
    assert str(exception).startswith("Traceback")
    assert str(exception).endswith("ZeroDivisionError: division by zero")


def test_a_record_that_logs_while_it_is_formatted_makes_no_loop(caller: Peer) -> None:
    code = """
class Loud:
    def __str__(self):
        logging.warning("inner")
        return "outer"
logging.warning("%s", Loud())
"""
    assert [record[2] for record in logged(caller, code)] == ["outer"]


def test_the_handler_is_erlang_log(caller: Peer) -> None:
    code = "import erlang\nassert logging.root.handlers == [erlang.log]\n"
    code += "erlang.log.setLevel('ERROR')\nlogging.warning('low')\nlogging.error('high')"
    assert [record[2] for record in logged(caller, code)] == ["high"]


def test_the_handler_may_be_what_imports_logging(start: type[Peer]) -> None:
    peer = start()
    peer.set_up(stdout="caller", preload=[["code", "from erlang import log"]])
    assert peer.value("import logging; logging.root.handlers == [log]") is True


def test_logging_is_not_imported_for_nothing(caller: Peer) -> None:
    assert caller.value("import sys; 'logging' in sys.modules") is False
    code = "import importlib, logging, inspect; importlib.reload(logging); inspect.getsource(logging) != ''"
    assert caller.value(code) is True


def test_threads_and_preload_log(start: type[Peer]) -> None:
    peer = start()
    preload = [["code", "import logging; logging.error('early')"]]
    early = peer.set_up(stdout="caller", preload=preload)
    assert (early.type, early.id, early.body[2]) == (LOG, 0, "early")
    assert peer.receive().type == READY
    code = "import threading\nt = threading.Thread(target=logging.error, args=('t',))\nt.start()\nt.join()"
    assert [record[2] for record in logged(peer, code)] == ["t"]


def test_forked_children_log_to_the_descriptor(caller: Peer) -> None:
    code = f"import logging\n{FORK}"
    code += "if pid == 0:\n    logging.error('child')\n    os._exit(0)\nos.waitpid(pid, 0)[1]"
    assert caller.value(code) == 0
    caller.wait_line(b"child")


def test_forked_children_log_to_what_is_stderr_by_then(caller: Peer) -> None:
    code = "import contextlib, io\n"
    code += "with contextlib.redirect_stderr(io.StringIO()) as first:\n    import logging\n"
    code += f"    erlang.log\n{FORK}"
    code += "if pid == 0:\n    logging.error('child')\n    os._exit(len(first.getvalue()))\n"
    assert caller.value(f"{code}os.waitpid(pid, 0)[1]") == 0
    caller.wait_line(b"child")


def read_from(peer: Peer, code: str, lines: list[str]) -> Message:
    """The end of a request whose caller types these lines."""
    peer.begin_code(RUN, f"import sys\n{code}")
    while (message := peer.receive()).type == SERVICE:
        peer.answer(Callback(message), lines.pop(0) if lines else "")
    return message


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("[sys.stdin.read(1), sys.stdin.readline(), input()]", ["a", "b\n", "cd"]),
        ("[sys.stdin.readline(1), sys.stdin.readline(9), sys.stdin.readline(0)]", ["a", "b\n", ""]),
        ("[sys.stdin.read(4), sys.stdin.read()]", ["ab\nc", "d\ne\n"]),
        ("[sys.stdin.read(100), sys.stdin.read(1)]", ["ab\ncd\ne\n", ""]),
        ("[sys.stdin.read(1), list(sys.stdin)]", ["a", ["b\n", "cd\n", "e\n"]]),
        ("[sys.stdin.readlines(4), next(sys.stdin)]", [["ab\n", "cd\n"], "e\n"]),
    ],
)
def test_input_is_read_in_any_size(start: type[Peer], code: str, expected: list[object]) -> None:
    peer = start()
    peer.set_up(stdin="caller")
    assert read_from(peer, code, ["ab\n", "cd\n", "e\n"]).body == expected
    # What was not taken has ended with its request.
    assert read_from(peer, "sys.stdin.read(1)", ["x\n"]).body == "x"
    assert read_from(peer, "sys.stdin.read(1)", ["y\n"]).body == "y"


@pytest.mark.parametrize(
    ("stdin", "text"), [("caller", "gives text alone"), ("none", "has no standard input")]
)
def test_input_says_that_it_has_no_bytes(start: type[Peer], stdin: str, text: str) -> None:
    peer = start()
    peer.set_up(stdin=stdin)
    failure = peer.failure("import sys; sys.stdin.buffer.read()")
    assert failure.type == "AttributeError"
    assert text in failure.message
