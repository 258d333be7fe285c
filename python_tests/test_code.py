"""eval, exec and run: namespaces, bindings, names of sources."""

import itertools
import linecache
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from erlang_python_worker import _sources
from erlang_python_worker._namespace import Namespace, _Lent
from erlang_python_worker._sources import Sources
from peer import CALL, EVAL, EXEC, RESULT, RUN, Failure, Peer


def test_definitions_stay_and_see_each_other(worker: Peer) -> None:
    worker.value("def f():\n    return g()\n")
    worker.value("def g():\n    return 7\n")
    assert worker.call("__main__", "f").body == 7
    assert worker.value("f()") == 7


def test_the_namespace_is_main_with_erlang_in_it(worker: Peer) -> None:
    assert worker.value("__name__") == "__main__"
    assert worker.value("import sys; vars(sys.modules['__main__']) is globals()") is True
    assert worker.value("erlang.Atom('ok') == 'ok'") is True
    assert worker.value("import pickle\nclass C: pass\ntype(pickle.loads(pickle.dumps(C()))) is C")


def test_bindings_reach_comprehensions_lambdas_and_generators(worker: Peer) -> None:
    for kind in (EVAL, RUN):
        assert worker.code(kind, "[x + y for y in range(2)]", x=1).body == [1, 2]
        assert worker.code(kind, "(lambda y: x + y)(2)", x=1).body == 3
        assert worker.code(kind, "sum(x for _ in range(3))", x=1).body == 3


def test_bindings_are_gone_afterwards(worker: Peer) -> None:
    worker.value("y = 'old'")
    for kind in (EVAL, RUN, EXEC):
        assert worker.code(kind, "[x, y]", x=1, y=2).type == RESULT
        assert worker.value("[y, 'x' in globals()]") == ["old", False]
    assert worker.code(EXEC, "1 / 0", x=1).error[0] == "python"
    assert worker.value("'x' in globals()") is False


def test_a_name_assigned_anew_stays(worker: Peer) -> None:
    worker.code(EXEC, "x = x + 1\nz = x", x=1)
    assert worker.value("[x, z]") == [2, 2]
    assert worker.code(RUN, "x = x * 2\nx", x=5).body == 10


def test_what_an_expression_leaves_behind_keeps_its_bindings(worker: Peer) -> None:
    worker.value("kept = []")
    worker.code(EVAL, "kept.append(lambda: x)", x=1)
    worker.code(RUN, "n = 1\nkept.append(lambda: (x, n))", x=2)
    assert worker.value("[kept[0](), *kept[1]()]") == [1, 2, 1]


def test_run_gives_the_last_expression(worker: Peer) -> None:
    for code, value in [("", None), ("x = 1", None), ("x = 1\nx + 1", 2), ("1; 2", 2), ("#", None)]:
        assert worker.value(code) == value
    assert worker.value("if True:\n    1") is None
    assert worker.value("def f():\n    return 3\nf()") == 3


def test_eval_takes_leading_spaces_and_refuses_statements(worker: Peer) -> None:
    assert worker.code(EVAL, "  1 + 1 ").body == 2
    assert worker.request(EVAL, ["  1 + 1 ", None, "a.py", 3, 0]).body == 2
    assert worker.failure("x = 1", EVAL).type == "SyntaxError"


def test_code_does_not_inherit_the_runtimes_future_imports(worker: Peer) -> None:
    assert worker.value("def f(a: int): pass\nf.__annotations__['a'] is int") is True


def test_sources_without_a_file_are_numbered_and_readable(worker: Peer) -> None:
    worker.value("def f():\n    raise ValueError('no')\n")
    worker.request(EXEC, ["def g():\n    f()\n", None, None, 1, 0])
    failure = worker.failure("g()", EVAL)
    assert failure.frames == [
        ["<eval-1>", 1, "<module>", "g()"],
        ["<exec-1>", 2, "g", "f()"],
        ["<run-1>", 2, "f", "raise ValueError('no')"],
    ]
    assert worker.value("import inspect; inspect.getsource(g)") == "def g():\n    f()\n"


def test_the_same_text_is_compiled_once(worker: Peer) -> None:
    assert worker.failure("nope", EVAL).frames[0][0] == "<eval-1>"
    assert worker.failure("nope", EVAL).frames[0][0] == "<eval-1>"
    assert worker.failure("nope ", EVAL).frames[0][0] == "<eval-2>"


def test_code_that_runs_while_other_code_is_compiled_is_compiled(worker: Peer) -> None:
    worker.value("import erlang, warnings\nwarnings.showwarning = lambda *_: erlang.call('f')")
    number = worker.begin_code(EVAL, "0 is 0")
    call = worker.callback()
    nested = worker.nest(call, EVAL, "1 + 1")
    assert worker.end(nested).body == 2
    worker.answer(call)
    assert worker.end(number).body is True


def test_of_a_text_that_two_threads_compile_one_program_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sources, both, compile_it = Sources(), threading.Barrier(2), _sources.program

    def wait_and_compile(*args: Any) -> Any:
        both.wait(10)
        return compile_it(*args)

    monkeypatch.setattr(_sources, "program", wait_and_compile)
    with ThreadPoolExecutor(2) as threads:
        made = list(threads.map(lambda _: sources.compile("eval", "two_threads", None, 1), "ab"))
    assert made[0] is made[1] is sources.compile("eval", "two_threads", None, 1)
    assert made[0][1] is not None
    kept = [name for name in linecache.cache if linecache.getlines(name) == ["two_threads"]]
    assert kept == [made[0][1].co_filename]


def test_sources_are_kept_in_a_bounded_cache(worker: Peer) -> None:
    count = "import linecache; sum(name.startswith('<e') for name in linecache.cache)"
    for number in range(600):
        worker.code(EVAL, f"{number}")
    assert worker.value(count) <= 512
    for number in range(10):
        worker.code(EVAL, f"len('{number}{'x' * 1_000_000}')")
    assert worker.value(count) <= 4


def test_a_file_and_its_line_stand_in_tracebacks(worker: Peer, tmp_path: object) -> None:
    source = f"{tmp_path}/a.ex"
    with open(source, "w") as file:
        file.write("elixir\n" * 9 + "1 / 0\n")
    for kind in (EVAL, EXEC, RUN):
        end = worker.request(kind, ["1 / 0", None, source, 10, 0])
        assert Failure(end.error[1]).frames == [[source, 10, "<module>", "1 / 0"]]
        wrong = Failure(worker.request(kind, ["1 +", None, source, 10, 0]).error[1])
        assert f'File "{source}", line 10' in wrong.formatted


@pytest.mark.parametrize("odd", ["\f", "x = '\u2028\x1c\x85'"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_where_the_compiler_ends_them(worker: Peer, odd: str, end: str) -> None:
    failure = worker.failure(f"{odd}{end}y = 2{end}1 / 0{end}z = 3{end}")
    assert [frame[1::2] for frame in failure.frames] == [[3, "1 / 0"]]


def test_a_syntax_error_shows_the_line(worker: Peer) -> None:
    failure = worker.failure("x = 1\ny = = 2\n", RUN)
    assert failure.type == "SyntaxError"
    assert 'File "<run-1>", line 2' in failure.formatted
    assert "y = = 2" in failure.formatted


def test_input_fails_at_once(worker: Peer) -> None:
    failure = worker.failure("input()")
    assert failure.type == "EOFError"
    assert "no standard input" in failure.message
    assert worker.failure("import sys; sys.stdin.read()").type == "EOFError"
    assert (
        worker.value("import subprocess; subprocess.run(['cat'], capture_output=True).stdout")
        == b""
    )


def test_prints_come_out_promptly_and_disturb_nothing(worker: Peer) -> None:
    worker.value("print('line')")
    worker.wait_line(b"line")
    worker.value("print('no end', end='')")
    worker.value("print()")
    worker.wait_line(b"no end")
    worker.value("import os; os.write(1, b'\\x00\\xff\\n'); os.write(2, b'err\\n'); 0")
    worker.wait_line(b"\x00\xff")
    worker.wait_line(b"err")


def test_environment_variables_of_ours_are_gone(worker: Peer) -> None:
    text = "import os; [name for name in os.environ if name.startswith('ERLANG_PYTHON')]"
    assert worker.value(text) == []
    child = "import subprocess; subprocess.run(['env'], capture_output=True).stdout"
    assert b"ERLANG_PYTHON_" not in worker.value(child)


def test_current_request_tells_its_id(worker: Peer) -> None:
    number = worker.begin_code(EVAL, "erlang.current_request().id")
    assert worker.end(number).body == number
    assert worker.value("erlang.current_request().cancelled") is False
    in_a_thread = (
        "import concurrent.futures as f\n"
        "f.ThreadPoolExecutor(1).submit(lambda: erlang.current_request().id).result()"
    )
    number = worker.begin_code(RUN, in_a_thread)
    assert worker.end(number).body == number


def test_a_thread_of_an_executor_works_for_whoever_submits(worker: Peer) -> None:
    worker.value(
        "import concurrent.futures\nexecutor = concurrent.futures.ThreadPoolExecutor(1)\n"
        "executor.submit(int).result()"
    )
    for _ in range(2):
        number = worker.begin_code(
            RUN, "executor.submit(lambda: erlang.current_request().id).result()"
        )
        assert worker.end(number).body == number


@pytest.mark.skipif(sys.version_info < (3, 14), reason="InterpreterPoolExecutor is new in 3.14")
def test_an_executor_of_interpreters_gets_what_it_can_pickle(worker: Peer) -> None:
    code = (
        "import concurrent.futures\n"
        "with concurrent.futures.InterpreterPoolExecutor(1) as executor:\n"
        "    out = executor.submit(pow, 2, 3).result()\nout"
    )
    assert worker.value(code) == 8


def test_arguments_and_results_are_not_kept(worker: Peer) -> None:
    worker.value(
        "import weakref\nclass Big: pass\nerlang.register_encoder(Big, lambda b: 1)\n"
        "def make():\n    global seen\n    big = Big()\n    seen = weakref.ref(big)\n    return big"
    )
    assert worker.request(CALL, ["__main__", "make", [], None, 0]).body == 1
    assert worker.value("seen() is None") is True


@pytest.fixture
def switching() -> "Iterator[None]":
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching")
def test_bindings_end_while_threads_assign_names() -> None:
    namespace = Namespace(1)
    bindings = {f"name{number}": number for number in range(200)}
    for _ in range(50):
        stop = threading.Event()

        def assign(names: "dict[str, Any]", stop: threading.Event = stop) -> None:
            for number in itertools.count():
                if stop.is_set():
                    break
                names[f"other{number}"] = number

        with ThreadPoolExecutor(1) as threads:
            try:
                with namespace.copied(bindings) as names:
                    threads.submit(assign, names)
            finally:
                stop.set()


@pytest.mark.usefixtures("switching")
def test_bindings_end_while_threads_delete_names() -> None:
    names: "dict[str, Any]" = {}
    stop = threading.Event()

    def delete() -> None:
        while not stop.is_set():
            names.pop("x", None)

    with ThreadPoolExecutor(1) as threads:
        threads.submit(delete)
        try:
            for number in range(20_000):
                with _Lent(names, {"x": number}):
                    pass
        finally:
            stop.set()
