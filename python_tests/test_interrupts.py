import os
import signal
import struct
import threading
from pathlib import Path
from typing import Any

import msgpack
import pytest

from peer import (
    CANCEL,
    CANCEL_ACK,
    CANCELLED,
    ERROR,
    EVAL,
    EXEC,
    PING,
    PONG,
    RESULT,
    RUN,
    SHUTDOWN,
    Failure,
    Peer,
)

# A call in the loop's try: Python 3.10 looks for signals nowhere in `while True: try: pass`.
BLOCKED = {
    "sleep": "import time; print('in'); time.sleep(60)",
    "event": "import threading; e = threading.Event(); print('in'); e.wait()",
    "lock": "import threading; e = threading.Lock(); e.acquire(); print('in'); e.acquire()",
    "queue": "import queue; q = queue.Queue(); print('in'); q.get()",
    "socket": "import socket; a, b = socket.socketpair(); print('in'); a.recv(1)",
    "subprocess": "import subprocess; print('in'); subprocess.run(['sleep', '60'])",
    "loop": "print('in')\nwhile True: pass",
    "except Exception": "print('in')\nwhile True:\n    try:\n        len('')\n    except Exception: pass",
    "asyncio": "import asyncio\nasync def f():\n    print('in')\n    await asyncio.sleep(60)\nasyncio.run(f())",
    "str of an error": "class E(Exception):\n    def __str__(self):\n        print('in')\n        while True: pass\nraise E",
    "destructor": "import time\nclass C:\n    def __del__(self):\n        print('in')\n        time.sleep(60)\nC()\nwhile True: pass",
    "generator": "import time\ndef g():\n    try: yield\n    finally:\n        print('in')\n        time.sleep(60)\nnext(g())\nwhile True: pass",
    "callback of C": "import ctypes, time\ndef wait():\n    print('in')\n    time.sleep(60)\nctypes.CFUNCTYPE(None)(wait)()\nwhile True: pass",
    "encoder": "class C: pass\ndef enc(c):\n    print('in')\n    while True: pass\nerlang.register_encoder(C, enc)\nC()",
}


@pytest.mark.parametrize("code", BLOCKED.values(), ids=BLOCKED)
def test_code_that_waits_is_interrupted(shared: Peer, code: str) -> None:
    number = shared.begin_code(RUN, code)
    shared.wait_line(b"in")
    assert shared.cancel(number) == "running"
    assert shared.end(number).type == CANCELLED
    assert shared.value("1 + 1") == 2


def test_an_import_is_not_interrupted_but_what_follows_it(shared: Peer, tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    package = tmp_path / "package_with_parts"
    package.mkdir()
    (package / "part.py").write_text("value = 1\n")
    (package / "__init__.py").write_text(
        f"from .part import *\nprint('in', flush=True)\nopen({str(go)!r}).read()\n"
        # Python gives the package this name when it loads the part, which it does only once.
        "value = part.value + 1\n"
    )
    code = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport package_with_parts"
    number = shared.begin_code(RUN, code + "\nwhile True: pass")
    shared.wait_line(b"in")
    assert shared.cancel(number) == "running"
    go.write_text("")
    assert shared.end(number).type == CANCELLED
    assert shared.value("__import__('package_with_parts').value") == 2


def test_an_import_that_prints_is_not_interrupted(start: Any, tmp_path: Path) -> None:
    peer = start()
    peer.set_up(stdout="caller", paths=[str(tmp_path)])
    go = tmp_path / "go"
    os.mkfifo(go)
    text = f"import os\nos.write(1, b'in\\n')\nopen({str(go)!r}).read()\nprint('out')\nvalue = 2\n"
    (tmp_path / "module_that_prints.py").write_text(text)
    number = peer.begin_code(RUN, "import module_that_prints\nwhile True: pass")
    peer.wait_line(b"in")
    assert peer.cancel(number) == "running"
    go.write_text("")
    assert peer.receive().body == [1, "out\n"]
    assert peer.end(number).type == CANCELLED
    assert peer.value("import sys; sys.modules['module_that_prints'].value") == 2


# Interrupts the code that runs within the worker's, where it is called.
SIGNAL = """
import erlang, signal, time
request = erlang.current_request()
def interrupt():
    print("in")
    while not request.cancelled: time.sleep(0.001)
    signal.raise_signal(signal.SIGINT)
"""


@pytest.mark.parametrize(
    ("step", "large"), [("_send_whole", "len(first) > 1"), ("_take", "first == 70_000")]
)
def test_an_interrupt_leaves_the_channel_of_a_loop_whole(
    worker: Peer, step: str, large: str
) -> None:
    worker.value("import asyncio, erlang\nloop = asyncio.new_event_loop()\ndata = bytes(70_000)")
    ask = "loop.run_until_complete(erlang.acall('f', data))"
    in_the_middle = f"""{SIGNAL}
from erlang_python_worker._direct_channel import DirectChannel
whole = DirectChannel.{step}
def half(self, first, *rest):
    if {large}:
        DirectChannel.{step} = whole
        interrupt()
    return whole(self, first, *rest)
DirectChannel.{step} = half
{ask}"""
    number = worker.begin_code(RUN, in_the_middle)
    if step == "_take":
        answer_large(worker)
    worker.wait_line(b"in")
    assert worker.cancel(number) == "running"
    assert worker.end(number).type == CANCELLED
    if step == "_send_whole":
        assert worker.callback().buffers == [bytes(70_000)]
    number = worker.begin_code(RUN, ask)
    answer_large(worker)
    assert worker.end(number).buffers == [bytes(70_000)]


def answer_large(peer: Peer) -> None:
    call = peer.callback()
    assert call.buffers == [bytes(70_000)]
    peer.answer(call, msgpack.ExtType(6, struct.pack(">BI", 1, 0)), buffers=call.buffers)


def test_the_control_thread_serves_on_after_an_error(worker: Peer) -> None:
    worker.value(
        "from erlang_python_worker import _control\n_control.resident_bytes = lambda: 1 / 0"
    )
    worker.control(PING, 5)
    assert worker.cancel(1_000) == "revoked"
    assert worker.process.stdout is not None
    assert b"Traceback" in worker.process.stdout.readline()


def test_a_module_of_the_users_does_not_hide_what_the_control_thread_needs(
    start: Any, tmp_path: Path
) -> None:
    (tmp_path / "resource.py").write_text("")
    peer = start()
    peer.set_up(paths=[str(tmp_path)])
    assert peer.ping()["running"] == 0


def test_ping_is_answered_while_code_runs(shared: Peer) -> None:
    number = shared.begin_code(RUN, BLOCKED["loop"])
    shared.wait_line(b"in")
    assert shared.ping()["running"] == number
    shared.cancel(number)
    assert shared.end(number).type == CANCELLED


def test_cancel_without_interrupt_leaves_a_request_that_runs_alone(
    shared: Peer, tmp_path: Path
) -> None:
    code = f"""
import pathlib
print('in')
while not pathlib.Path({str(tmp_path / "go")!r}).exists(): pass
erlang.current_request().cancelled"""
    number = shared.begin_code(RUN, code)
    shared.wait_line(b"in")
    assert shared.cancel(number, interrupt=False) == "running"
    (tmp_path / "go").touch()
    assert shared.end(number).body is False


def test_an_interrupt_that_the_code_swallows_is_allowed(shared: Peer) -> None:
    code = "import time\ntry:\n    print('in')\n    time.sleep(60)\nexcept BaseException as e:\n    x = type(e).__name__\nx"
    number = shared.begin_code(RUN, code)
    shared.wait_line(b"in")
    shared.cancel(number)
    end = shared.end(number)
    assert (end.type, end.body) == (RESULT, "Interrupted")


def test_an_exception_raised_on_the_way_out_is_an_error(shared: Peer) -> None:
    code = "import time\ntry:\n    print('in')\n    time.sleep(60)\nfinally:\n    raise ValueError('cleanup')"
    number = shared.begin_code(EXEC, code)
    shared.wait_line(b"in")
    shared.cancel(number)
    failure = Failure(shared.end(number).error[1])
    assert (failure.type, failure.relation) == ("ValueError", "context")
    assert failure.cause is not None
    assert failure.cause.type == "erlang.Interrupted"
    assert "erlang_python_worker" not in failure.cause.formatted


def test_a_second_cancel_ends_a_finally_that_waits(shared: Peer) -> None:
    code = "import time\ntry:\n    print('in')\n    time.sleep(60)\nfinally:\n    print('finally')\n    time.sleep(60)"
    number = shared.begin_code(EXEC, code)
    shared.wait_line(b"in")
    assert shared.cancel(number) == "running"
    shared.wait_line(b"finally")
    assert shared.cancel(number) == "running"
    assert shared.end(number).type == CANCELLED


def test_a_request_that_has_not_begun_is_revoked(shared: Peer) -> None:
    first = shared.begin_code(RUN, BLOCKED["loop"])
    shared.wait_line(b"in")
    second = shared.begin_code(EXEC, "print('never')")
    third = shared.begin_code(RUN, "3")
    assert shared.cancel(second) == "revoked"
    assert shared.cancel(first) == "running"
    assert shared.end(first).type == CANCELLED
    assert shared.end(third).body == 3
    assert shared.nothing_waits()


def test_a_request_is_revoked_even_before_it_comes(shared: Peer) -> None:
    assert shared.cancel(900_001) == "revoked"
    shared.send(EVAL, 900_001, ["1", None, None, 1, 0])
    assert shared.value("2") == 2


def test_each_revocation_drops_one_frame(shared: Peer) -> None:
    assert shared.cancel(900_002) == "revoked"
    assert shared.cancel(900_002) == "revoked"
    for value in ("1", "2", "3"):
        shared.send(EVAL, 900_002, [value, None, None, 1, 0])
    assert shared.end(900_002).body == 3


def test_the_mapped_file_names_what_had_begun(worker: Peer) -> None:
    number = worker.begin_code(RUN, "import os; os._exit(1)")
    worker.begin_code(RUN, "1")
    assert worker.process.wait(timeout=30) == 1
    last, ring = begun(worker)
    assert last == number
    assert number in ring
    assert number + 1 not in ring


def test_the_mapped_file_remembers_requests_that_have_ended(worker: Peer) -> None:
    numbers = [worker.begin_code(RUN, "1") for _ in range(600)]
    for number in numbers:
        assert worker.end(number).body == 1
    last, ring = begun(worker)
    assert last == numbers[-1]
    assert sorted(ring) == numbers[-len(ring) :]


def begun(worker: Peer) -> "tuple[int, list[int]]":
    last, *ring = struct.unpack(">257Q", worker.running.read_bytes())
    return last, ring


def test_cancel_after_the_end_does_nothing(shared: Peer) -> None:
    number = shared.begin_code(RUN, "1")
    shared.end(number)
    shared.value("1")  # its end is noted before this begins
    assert shared.cancel(number) == "done"
    # Code that a late signal would break off.
    assert shared.value("import time; time.sleep(0.01); 5") == 5


def test_interrupts_never_hit_another_request(worker: Peer) -> None:
    """Cancels racing with ends: each request has one end, and the next is unharmed."""
    ends = {CANCELLED: 0, RESULT: 0}
    for turn in range(300):
        number = worker.begin_code(RUN, f"for _ in range({turn * 40}): pass")
        following = worker.begin_code(RUN, "sum(range(100))")
        state = worker.cancel(number)
        if state != "revoked":
            end = worker.end(number)
            ends[end.type] += 1
        assert worker.end(following).body == 4950
    assert worker.nothing_waits()


def test_a_storm_of_cancels_never_kills_the_worker(worker: Peer) -> None:
    for _ in range(50):
        number = worker.begin_code(
            RUN, "try:\n    while True: pass\nfinally:\n    x = [n for n in range(500)]"
        )
        while worker.ping()["running"] != number:
            pass
        for _ in range(20):
            worker.control(CANCEL, number, True)
        assert worker.end(number).type == CANCELLED
        for _ in range(20):
            assert worker.receive("/control").type == CANCEL_ACK
    assert worker.value("1") == 1


def test_a_signal_from_elsewhere_is_ignored(worker: Peer) -> None:
    # In a call that the signal comes into; if it came after it, the second one below is tested.
    number = worker.begin_code(RUN, "import time; print('in'); time.sleep(0.05); 4")
    worker.wait_line(b"in")
    os.kill(worker.process.pid, signal.SIGINT)
    assert worker.end(number).body == 4
    os.kill(worker.process.pid, signal.SIGINT)
    assert worker.value("5") == 5


def test_code_that_holds_the_gil_answers_nothing_and_can_be_killed(worker: Peer) -> None:
    worker.begin_code(
        RUN, "import re, os; os.write(1, b'in\\n'); re.match('(a+)+$', 'a' * 60 + 'b')"
    )
    worker.wait_line(b"in")
    worker.control(PING, 1)
    while worker.router.poll(200):  # silence is the point, so this waits
        assert worker.receive("/control").type == PONG  # it came just before
        worker.control(PING, 1)
    os.killpg(worker.process.pid, signal.SIGTERM)
    assert worker.exit_status() == -signal.SIGTERM


def test_prints_in_floods_do_not_stop_cancels(worker: Peer) -> None:
    assert worker.process.stdout is not None
    reader = threading.Thread(target=worker.process.stdout.read)
    reader.start()
    number = worker.begin_code(EXEC, "import sys\nwhile True:\n    print('x' * 1000)")
    while worker.ping()["running"] != number:
        pass
    worker.cancel(number)
    assert worker.end(number).type in (CANCELLED, ERROR)
    assert worker.value("1") == 1
    worker.control(SHUTDOWN, 0)
    reader.join()


def test_the_handler_serves_again_in_each_request(worker: Peer) -> None:
    for _ in range(20):
        number = worker.begin_code(RUN, BLOCKED["event"])
        worker.wait_line(b"in")
        worker.cancel(number)
        assert worker.end(number).type == CANCELLED


def test_a_signal_that_comes_just_before_a_call_blocks_is_repeated(worker: Peer) -> None:
    # The first signal is taken away, as by a main thread that was about to block.
    code = """
import os, signal, threading
ours = signal.getsignal(signal.SIGINT)
signals = []
def lose_the_first(number, frame):
    signals.append(number)
    if len(signals) > 1:
        signal.signal(signal.SIGINT, ours)
        ours(number, frame)
signal.signal(signal.SIGINT, lose_the_first)
print("in")
threading.Event().wait()
"""
    number = worker.begin_code(EXEC, code)
    worker.wait_line(b"in")
    worker.cancel(number)
    assert worker.end(number).type == CANCELLED
    assert worker.value("len(signals)") == 2


def test_a_shutdown_that_a_destructor_swallows_is_repeated(worker: Peer) -> None:
    # Garbage is collected wherever something is made, also where the next message is waited for.
    code = """
import os, time
from erlang_python_worker._direct_channel import DirectChannel
class Slow:
    def __del__(self):
        os.write(1, b"in\\n")
        time.sleep(60)
whole = DirectChannel._fill
def fill(self):
    DirectChannel._fill = whole
    Slow()
    whole(self)
DirectChannel._fill = fill
"""
    assert worker.code(EXEC, code).type == RESULT
    worker.wait_line(b"in")
    worker.control(SHUTDOWN, 0)
    assert worker.exit_status() == 0
