"""The process around the worker: children, the end of the BEAM, the start."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from peer import (
    BOOTSTRAP,
    CANCELLED,
    DETACHED,
    EVAL,
    EXEC,
    PYTHON,
    READY,
    RESULT,
    RUN,
    SHUTDOWN,
    Peer,
)

FORK = """
import os
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.write(write, b'hi')
    {end}
os.close(write)
_, status = os.waitpid(child, 0)
[os.read(read, 10), os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1]
"""


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("os._exit(7)", 7),
        ("import sys; sys.exit(8)", 8),
        ("import sys; sys.exit()", 0),
        ("raise ValueError", 1),
        ("os.waitpid = lambda *_: (0, 0); os.read = lambda *_: b''", 0),
        ("object.no_such", 1),
    ],
)
def test_a_forked_child_ends_alone(worker: Peer, end: str, status: int) -> None:
    for _ in range(3):
        assert worker.value(FORK.format(end=end)) == [b"hi", status]
    assert worker.nothing_waits()
    assert worker.value("1") == 1
    worker.control(SHUTDOWN, 0)
    assert worker.exit_status() == 0


def test_a_forked_child_can_fork_and_be_interrupted_by_its_own_means(worker: Peer) -> None:
    end = "import subprocess; os._exit(subprocess.run(['true']).returncode)"
    assert worker.value(FORK.format(end=end)) == [b"hi", 0]
    end = "import signal\n    try:\n        signal.raise_signal(2)\n    except KeyboardInterrupt:\n        os._exit(5)"
    assert worker.value(FORK.format(end=end)) == [b"hi", 5]


def test_a_child_forked_in_a_thread_ends_alone(worker: Peer) -> None:
    code = "import threading\ndef f():\n    global got\n    got = os.fork() or os._exit(3)\nimport os\nt = threading.Thread(target=f); t.start(); t.join()\nos.waitpid(got, 0)[1] >> 8"
    assert worker.value(code) == 3
    assert worker.value("1") == 1


@pytest.mark.parametrize(
    ("end", "status"), [("return 1", 0), ("raise SystemExit(8)", 8), ("raise ValueError", 1)]
)
def test_a_child_forked_in_a_coroutine_ends_alone(worker: Peer, end: str, status: int) -> None:
    code = f"""
import os
async def f():
    child = os.fork()
    if child == 0:
        {end}
    return os.waitpid(child, 0)[1] >> 8
f()
"""
    for _ in range(2):
        number = worker.begin_code(RUN, code)
        messages = [worker.receive_from_any() for _ in range(2)]
        assert [(m.id, m.body) for m in messages if m.type != DETACHED] == [(number, status)]
    assert worker.nothing_waits()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_works(worker: Peer, method: str) -> None:
    code = f"import multiprocessing as m, math\nwith m.get_context({method!r}).Pool(2) as pool:\n    r = pool.map(math.factorial, [3, 4])\nr"
    assert worker.value(code) == [6, 24]
    assert worker.nothing_waits()


def test_process_pool_executor_works(worker: Peer) -> None:
    code = "import concurrent.futures as f, math\nwith f.ProcessPoolExecutor(1) as e:\n    r = e.submit(math.sqrt, 16).result()\nr"
    assert worker.value(code) == 4.0


def test_subprocess_sees_defaults(worker: Peer) -> None:
    code = "import subprocess; subprocess.run(['sh', '-c', 'exit 3']).returncode"
    assert worker.value(code) == 3
    script = "import signal; print([int(signal.getsignal(s)) for s in (signal.SIGCHLD, signal.SIGIO)], signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {script!r}], capture_output=True).stdout"
    assert worker.value(code) == b"[0, 0] True\n"


def test_signals_that_a_beam_ignores_are_back(start: "type[Peer]") -> None:
    def as_the_beam_does() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO, signal.SIGINT])

    peer = start(preexec_fn=as_the_beam_does)
    assert peer.set_up().type == READY
    assert peer.value("import subprocess; subprocess.run(['false']).returncode") == 1
    assert (
        peer.failure("import os; r, w = os.pipe(); os.close(r); os.write(w, b'x')").type
        == "BrokenPipeError"
    )
    number = peer.begin_code(RUN, "import time; print('in'); time.sleep(60)")
    peer.wait_line(b"in")
    peer.cancel(number)
    assert peer.end(number).type == CANCELLED


def test_the_worker_leads_its_group(worker: Peer) -> None:
    assert os.getpgid(worker.process.pid) == worker.process.pid


LINUX = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux alone has it")


@LINUX
def test_the_worker_does_not_take_the_cpu_from_the_beam(worker: Peer) -> None:
    assert policies(worker) == {os.SCHED_BATCH}


@LINUX
def test_a_scheduling_policy_that_somebody_has_chosen_stays(start: "type[Peer]") -> None:
    idle = os.sched_param(0)
    peer = start(preexec_fn=lambda: os.sched_setscheduler(0, os.SCHED_IDLE, idle))
    assert peer.set_up().type == READY
    assert policies(peer) == {os.SCHED_IDLE}


def policies(peer: Peer) -> "set[int]":
    """Of all its threads."""
    threads = os.listdir(f"/proc/{peer.process.pid}/task")
    return {os.sched_getscheduler(int(thread)) for thread in threads}


STATES = {
    "idle": "0",
    "spins": "while True: pass",
    "sleeps": "import time; time.sleep(60)",
    "holds the GIL": "import re; re.match('(a+)+$', 'a' * 60 + 'b')",
    "swallows": "while True:\n    try:\n        print('in')\n        while True: pass\n    except BaseException: pass",
    "has a child": "import subprocess; subprocess.run(['sleep', '60'])",
    "has a forked child": "import os, time; os.fork(); time.sleep(60)",
    "has a thread": "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()",
}


def alive(pid: int) -> bool:
    try:
        return state(pid) != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter between opening and reading
        return False


def group(leader: int) -> "list[int]":
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[2]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found


PARENT = """
import os, subprocess, sys
worker = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)
print(worker.pid, flush=True)
worker.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("code", STATES.values(), ids=STATES)
def test_nothing_outlives_a_parent_killed_with_9(start: "type[Peer]", code: str) -> None:
    command = [sys.executable, "-c", PARENT, sys.executable, str(BOOTSTRAP)]
    peer = start(command=command, start_new_session=True)
    assert peer.set_up().type == READY
    pid = peer.hello.body["pid"]
    peer.wait_line(str(pid).encode())
    number = peer.begin_code(EXEC, code if "'in'" in code else f"print('in')\n{code}")
    peer.wait_line(b"in")
    if code == "0":
        assert peer.end(number).type == RESULT
    peer.process.kill()
    peer.process.wait()
    # No event tells of processes that are not our children.
    assert peer.settles(lambda: not alive(pid))
    assert peer.settles(lambda: not group(pid)), group(pid)


WITHOUT_SIGIO = """
import sys
sys.argv[0] = {bootstrap!r}
sys.path.insert(0, {folder!r})
import fcntl
fcntl.F_SETOWN  # the system has it, but this worker is not told
real = fcntl.fcntl
fcntl.fcntl = lambda fd, command, *args: 0 if command != fcntl.F_GETFL else real(fd, command)
import runpy
runpy.run_path({bootstrap!r}, run_name='__main__')
"""


@pytest.mark.parametrize("code", ["0", STATES["spins"], STATES["sleeps"], STATES["swallows"]])
def test_without_sigio_the_thread_ends_the_worker(start: "type[Peer]", code: str) -> None:
    script = WITHOUT_SIGIO.format(bootstrap=str(BOOTSTRAP), folder=str(PYTHON))
    peer = start(command=[sys.executable, "-c", script])
    assert (
        peer.set_up(preload=[["code", "import atexit; atexit.register(print, 'bye')"]]).type
        == READY
    )
    number = peer.begin_code(EXEC, code if "'in'" in code else f"print('in')\n{code}")
    peer.wait_line(b"in")
    if code == "0":
        peer.end(number)
    assert peer.process.stdin is not None
    peer.process.stdin.close()
    status = peer.exit_status()
    if code == STATES["swallows"]:
        assert status == -signal.SIGKILL
    else:
        peer.wait_line(b"bye")
        assert status == 0


def test_a_worker_started_by_hand_says_so() -> None:
    done = subprocess.run([sys.executable, BOOTSTRAP], capture_output=True, text=True)
    assert done.returncode == 2
    assert "started by the BEAM" in done.stderr


def test_bootstrap_parses_on_old_pythons() -> None:
    import ast

    tree = ast.parse(BOOTSTRAP.read_text(), feature_version=(3, 4))
    # Nor does it have what a Python 2 can't read.
    for node in ast.walk(tree):
        assert not isinstance(node, (ast.AnnAssign, ast.JoinedStr))
        assert getattr(node, "returns", None) is None
        assert getattr(node, "annotation", None) is None


@pytest.mark.parametrize("options", [["-I"], ["-P"], ["-X", "utf8"], ["-O"], ["-s"]])
def test_interpreter_options_make_no_difference(start: "type[Peer]", options: "list[str]") -> None:
    if options == ["-P"] and sys.version_info < (3, 11):
        pytest.skip("-P came with Python 3.11")
    peer = start(command=[sys.executable, *options, str(BOOTSTRAP)])
    assert peer.set_up().type == READY
    path = peer.value("import sys; sys.path")
    assert [n for n, entry in enumerate(path) if entry == str(PYTHON)] == [len(path) - 1]


@pytest.mark.parametrize("options", [[], ["-I"]])
def test_nothing_of_ours_is_imported_but_our_two_packages(
    start: "type[Peer]", options: "list[str]"
) -> None:
    priv = PYTHON.parent
    names = {file.stem for file in [*priv.iterdir(), *priv.glob("*/[!_]*"), *priv.glob("*/_[!_]*")]}
    peer = start(command=[sys.executable, *options, str(BOOTSTRAP)])
    assert peer.set_up().type == READY
    # A folder without an __init__.py would be found as well.
    find = "import importlib.util; [name for name in names if importlib.util.find_spec(name)]"
    found = peer.value(f"names = {sorted(names)!r}\n{find}")
    assert found == ["erlang", "erlang_python_worker"]


def test_an_erlang_package_of_the_users_does_not_break_the_worker(
    start: "type[Peer]", tmp_path: Path
) -> None:
    (tmp_path / "erlang.py").write_text("raise RuntimeError")
    (tmp_path / "msgpack.py").write_text("version = (0, 5)")
    (tmp_path / "erlang_python_worker.py").write_text("raise RuntimeError")
    peer = start(env={"PYTHONPATH": str(tmp_path)})
    assert peer.receive is not None
    assert peer.exit_status() == 78  # msgpack too old, and there is no other


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_garbage_of_the_start_is_not_kept(start: "type[Peer]") -> None:
    code = (
        "import sys, weakref\nclass Held: pass\nheld = Held()\nheld.itself = held\n"
        "sys.held = weakref.ref(held)\ndel held"
    )
    peer = start()
    assert peer.set_up(preload=[["code", code]]).type == READY
    assert peer.value("import sys; sys.held() is None") is True


def test_memory_is_flat_over_many_calls(worker: Peer) -> None:
    worker.send(EXEC, 10**6, ["def f(x): return x", None, None, 1, 0])
    worker.end(10**6)

    def calls(count: int, offset: int) -> None:
        for number in range(offset, offset + count):
            if number % 100 == 0:
                worker.send(EVAL, number, [f"[{number % 700}, 1 / 0]", None, None, 1, 0])
            else:
                worker.send(1, number, ["__main__", "f", [{"a": [number, "x" * 50]}], None, 0])
        for number in range(offset, offset + count):
            worker.end(number)

    for round_ in range(10):
        calls(2_000, 2_000_000 + round_ * 2_000)
    before = worker.ping()["rss"]
    for round_ in range(40):
        calls(2_000, 3_000_000 + round_ * 2_000)
    assert worker.ping()["rss"] < before + (4 << 20)  # 50 bytes a call would be too much


def test_large_buffers_are_given_back(worker: Peer) -> None:
    worker.value("len(b'x' * 50_000_000)")
    before = worker.ping()["rss"]
    for _ in range(5):
        assert len(worker.code(EVAL, "b'x' * 50_000_000").buffers[0]) == 50_000_000
    worker.value("1")
    assert worker.ping()["rss"] < before + (60 << 20)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_signal_raises_does_not_end_an_idle_worker(start: "type[Peer]") -> None:
    peer = start()
    assert peer.set_up().type == READY
    code = "import signal\ndef late(*args): raise TimeoutError('late')\n"
    peer.value(f"{code}signal.signal(signal.SIGUSR1, late)\nNone")
    for _ in range(2):
        assert peer.settles(lambda: state(peer.process.pid) == "S")
        os.kill(peer.process.pid, signal.SIGUSR1)
        assert peer.process.stdout is not None
        while peer.process.stdout.readline() != b"TimeoutError: late\n":
            pass
    assert peer.value("1 + 1") == 2


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_call_at_exit_says_that_the_worker_is_leaving(start: "type[Peer]") -> None:
    peer = start()
    assert peer.set_up().type == READY
    code = "def bye():\n    try: erlang.call('f')\n    except RuntimeError as error: print(error)\n"
    peer.value(f"{code}import atexit\natexit.register(bye)\nNone")
    peer.control(SHUTDOWN, 0)
    peer.wait_line(b"the worker is leaving, and can't call Elixir any more")
    assert peer.exit_status() == 0
