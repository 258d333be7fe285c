import re
import subprocess
import sys
from typing import Callable

import pytest

from peer import EVAL, EXEC, FAILED, RESULT, RUN, Failure, Peer


def test_type_is_qualified_as_python_prints_it(shared: Peer) -> None:
    for code, kind in [
        ("raise ValueError", "ValueError"),
        ("import json; json.loads('')", "json.decoder.JSONDecodeError"),
        ("class E(Exception): pass\nraise E", "E"),
        ("def f():\n    class E(Exception): pass\n    raise E\nf()", "f.<locals>.E"),
    ]:
        assert shared.failure(code).type == kind


def test_formatted_is_what_python_prints(shared: Peer, tmp_path: object) -> None:
    script = f"{tmp_path}/script.py"
    text = "def f(x):\n    return 1 / x\n\ntry:\n    f(0)\nexcept Exception as e:\n    raise KeyError('k') from e\n"
    with open(script, "w") as file:
        file.write(text)
    printed = subprocess.run([sys.executable, script], capture_output=True, text=True).stderr
    failure = Failure(shared.request(EXEC, [text, None, script, 1, 0]).error[1])
    assert failure.cause is not None
    sentence = "\nThe above exception was the direct cause of the following exception:\n\n"
    assert failure.cause.formatted + sentence + failure.formatted == printed


@pytest.mark.parametrize(
    ("code", "relation", "cause"),
    [
        (
            "try:\n    1/0\nexcept Exception as e:\n    raise KeyError from e",
            "cause",
            "ZeroDivisionError",
        ),
        ("try:\n    1/0\nexcept Exception:\n    raise KeyError", "context", "ZeroDivisionError"),
        ("try:\n    1/0\nexcept Exception:\n    raise KeyError from None", None, None),
        ("raise KeyError", None, None),
    ],
)
def test_the_cause_follows_pythons_rule(
    shared: Peer, code: str, relation: "str | None", cause: "str | None"
) -> None:
    failure = shared.failure(code)
    assert failure.relation == relation
    assert (failure.cause and failure.cause.type) == cause


def test_no_frame_of_ours_is_shown(shared: Peer) -> None:
    for failure in (shared.failure("1 / 0"), Failure(shared.call("json", "loads", "").error[1])):
        assert "erlang_python_worker" not in failure.formatted
        assert failure.frames
        assert not any("erlang_python_worker" in frame[0] for frame in failure.frames)
    assert Failure(shared.call("math", "sqrt", -1).error[1]).frames == []


def test_notes_travel(shared: Peer) -> None:
    failure = shared.failure("e = ValueError('x')\ne.__notes__ = ['one', 'two']\nraise e")
    assert failure.notes == ["one", "two"]
    if sys.version_info >= (3, 11):
        assert failure.formatted.endswith("ValueError: x\none\ntwo\n")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups came with Python 3.11")
def test_the_parts_of_a_group_are_in_its_text(shared: Peer) -> None:
    failure = shared.failure("raise ExceptionGroup('many', [ValueError('a'), KeyError('b')])")
    assert failure.type == "ExceptionGroup"
    assert "ValueError: a" in failure.formatted
    assert "KeyError: 'b'" in failure.formatted


BROKEN = """
class Broken(Exception):
    def __str__(self): {body}
    __repr__ = __str__
raise Broken
"""


@pytest.mark.parametrize("body", ["raise ValueError", "return 5", "1/0", "raise Broken"])
def test_a_broken_str_is_told(shared: Peer, body: str) -> None:
    failure = shared.failure(BROKEN.format(body=body))
    assert (failure.type, failure.message) == ("Broken", "<exception str() failed>")


@pytest.mark.parametrize(
    "code",
    [
        "raise ValueError('\\ud800')",
        "exec(compile('1/0', '\\udcff', 'exec'))",
        "e = ValueError(); e.__notes__ = 5; raise e",
        "e = ValueError(); e.__notes__ = [object(), '\\ud800']; raise e",
        "class E(Exception):\n    __module__ = None\nraise E",
        "class E(Exception):\n    __module__ = '\\ud800'\nraise E",
        "e = ValueError(); e.__cause__ = e; raise e",
        "a = ValueError(); b = KeyError(); a.__cause__ = b; b.__cause__ = a; raise a",
        "raise SyntaxError('x', (1, 2, 3, 4))",
        "def f(): f()\nf()",
        "raise MemoryError",
        "raise GeneratorExit",
        "raise KeyboardInterrupt",
        "raise erlang.Interrupted",
        "import sys; sys.exit()",
        "import sys; sys.exit('why')",
        "raise StopIteration(5)",
        "class E(BaseException): pass\nraise E",
    ],
)
def test_any_exception_is_an_error_of_its_request_alone(shared: Peer, code: str) -> None:
    assert shared.failure(code).type
    assert shared.value("1 + 1") == 2


CODE_OF_ITS_OWN = """
class Odd(Exception):
    {body}
try:
    raise Odd('first')
except Odd as first:
    raise Odd('second') from first
"""


@pytest.mark.parametrize(
    "body",
    [
        "def __eq__(self, other): raise ValueError",
        "def __eq__(self, other): return True",
        "__hash__ = None",
        "def __getattr__(self, name): raise KeyError(name)",
        "__cause__ = property(lambda self: {}[1])",
        "__context__ = 5",
        "__notes__ = property(lambda self: {}[1])",
        "def __bool__(self): raise ValueError",
    ],
)
def test_an_exception_whose_own_code_raises_is_described(shared: Peer, body: str) -> None:
    failure = shared.failure(CODE_OF_ITS_OWN.format(body=body))
    assert (failure.type, failure.message) == ("Odd", "second")
    assert [frame[1:] for frame in failure.frames] == [
        [7, "<module>", "raise Odd('second') from first"]
    ]
    assert failure.formatted.startswith("Traceback (most recent call last):\n  File ")
    if "__cause__" not in body:
        assert failure.cause is not None
        assert failure.cause.message == "first"


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "SystemExit(3)", "GeneratorExit"])
def test_a_str_that_raises_no_exception_is_told(shared: Peer, raised: str) -> None:
    failure = shared.failure(BROKEN.format(body=f"raise {raised}"))
    assert (failure.type, failure.message) == ("Broken", "<exception str() failed>")


def test_a_message_may_be_of_a_subclass_of_str(shared: Peer) -> None:
    text = "type('Text', (str,), {'encode': None, '__len__': None})('told')"
    assert shared.failure(BROKEN.format(body=f"return {text}")).message == "told"


def test_a_class_whose_metaclass_raises_is_described(shared: Peer) -> None:
    failure = shared.failure(
        "class Meta(type):\n    def __getattribute__(kind, name): raise ValueError(name)\n"
        "class Odd(Exception, metaclass=Meta): pass\nraise Odd('told')"
    )
    assert failure.message == "told"


def test_a_traceback_of_many_frames_shows_both_ends(shared: Peer) -> None:
    again = "e = ValueError('x')\nfor n in range(20_000):\n    try: raise e\n    except ValueError: pass\n1\nraise e"
    failure = shared.failure(again)
    assert [frame[1] for frame in failure.frames] == [6] + [3] * 255
    # Its text has no more of them, however many there were.
    repeated = re.search("line repeated ([0-9]+) more times", failure.formatted)
    assert repeated is not None
    assert int(repeated[1]) < 2_000


def test_chains_frames_and_messages_are_bounded(shared: Peer) -> None:
    chain = (
        "e = None\nfor n in range(1000):\n    f = ValueError(n); f.__cause__ = e; e = f\nraise e"
    )
    failure, links = shared.failure(chain), 1
    while failure.cause is not None:
        failure, links = failure.cause, links + 1
    assert links == 32
    deep = shared.failure("def f(n): return f(n + 1)\nf(0)")
    assert deep.type == "RecursionError"
    assert len(deep.frames) == 256
    long = shared.code(EXEC, "raise ValueError('x' * 10_000_000)")
    assert len(long.raw) + sum(map(len, long.buffers)) < 1_000_000


def test_an_exception_is_also_a_value(shared: Peer) -> None:
    end = shared.code(EVAL, "[ValueError('x')]")
    assert end.type == RESULT
    assert Failure(end.body[0]).formatted == "ValueError: x\n"


def test_machinery_of_ours_is_not_shown(shared: Peer) -> None:
    missing = Failure(shared.call("no_such_module", "f").error[1])
    first, advice, end = missing.formatted.split("\n")
    assert (first, end) == ("ModuleNotFoundError: No module named 'no_such_module'", "")
    assert missing.notes == [advice]
    broken = Failure(shared.request(RUN, ["def f(:", None, None, 1, 0]).error[1])
    assert "ast.py" not in broken.formatted
    assert broken.formatted.startswith('  File "<run-')


def notes(peer: Peer, code: str) -> "list[str]":
    return list(Failure(peer.request(RUN, [code, None, None, 1, 0]).error[1]).notes)


def test_a_missing_module_says_which_pool_lacks_it(shared: Peer) -> None:
    (advice,) = notes(shared, "import no_such_module.part")
    version = ".".join(map(str, sys.version_info[:3]))
    found = f"Not found by the pool :default ({sys.executable}, Python {version}). "
    assert advice.startswith(found + "Its options :venv and :python say which packages it has")
    assert "pool: of a call" in advice
    assert "in vain" not in advice
    (advice,) = notes(
        shared, "import sys\nsys.path.append('/no/such/folder')\nimport no_such_module"
    )
    here = shared.value("__import__('os').getcwd()")
    assert advice.endswith(f"It looked in vain for /no/such/folder; its current folder is {here}.")
    (advice,) = notes(
        shared, "import pathlib\nsys.path[-1] = pathlib.Path('/no')\nimport no_such_module"
    )
    assert "in vain" not in advice
    shared.code(RUN, "sys.path.pop()")
    assert notes(shared, "import json.no_such_part") == []
    assert notes(shared, "raise ModuleNotFoundError('of my own')") == []
    # As `from erlang import name` raises it.
    (advice,) = notes(shared, "raise ImportError('cannot import name', name='erlang')")
    assert "ErlangPython.register, py:register_function" in advice


@pytest.mark.parametrize(
    ("packages", "where"), [("requirements", "its requirements"), ("project", "pyproject.toml")]
)
def test_a_missing_module_says_where_the_packages_of_a_pool_stand(
    start: "Callable[..., Peer]", packages: str, where: str
) -> None:
    peer = start()
    peer.set_up(pool=":ml", packages=packages)
    (advice,) = notes(peer, "import no_such_module")
    assert advice.startswith("Not found by the pool :ml (")
    assert where in advice
    assert "pool: of a call" not in advice


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        ("Elixir.Churn", 'Churn is the atom :"Elixir.Churn" in Elixir: write :churn or "churn".'),
        ("Elixir.My.Churn", 'My.Churn is the atom :"Elixir.My.Churn" in Elixir: write "my.churn".'),
        ("wave.py", 'A module is named without folder and .py: "wave", with its folder'),
        ("no_such.py", 'A module is named without folder and .py: "no_such", with its folder'),
        ("priv/churn", 'A module is named without folder and .py: "churn", with its folder'),
        ("priv/v1.2/churn.py", 'A module is named without folder and .py: "churn", with its'),
    ],
)
def test_what_is_no_name_of_a_module_says_what_is(
    shared: Peer, start: "Callable[..., Peer]", module: str, advice: str
) -> None:
    failure = Failure(shared.call(module, "f").error[1])
    assert failure.message == f"No module named {module!r}"
    assert failure.notes[0].startswith(advice)
    failed = start().set_up(preload=[["module", module]])
    assert failed.type == FAILED
    assert Failure(failed.body).notes == failure.notes


def test_what_a_module_fails_to_import_is_named_itself(worker: Peer, tmp_path: object) -> None:
    with open(f"{tmp_path}/no_such_module_user.py", "w") as file:
        file.write("import no_such_module\n")
    worker.code(EXEC, f"import sys; sys.path.append({str(tmp_path)!r})")
    for module in ("no_such_module_user", "no_such_module_user.py"):
        failure = Failure(worker.call(module, "f").error[1])
        assert failure.message == "No module named 'no_such_module'"
        assert failure.frames[-1][3] == "import no_such_module"


def test_a_name_that_main_lacks_says_whose_names_are_there(shared: Peer) -> None:
    (advice,) = Failure(shared.call("__main__", "no_such_name").error[1]).notes
    assert "ErlangPython.bind" in advice
    assert Failure(shared.call("json", "no_such_name").error[1]).notes == []


def test_syntax_of_others_is_told(shared: Peer) -> None:
    for code in ("return 5", "x = 1\nreturn x"):
        (advice,) = Failure(shared.request(EXEC, [code, None, None, 1, 0]).error[1]).notes
        assert "exec gives none" in advice
    for code in ("!pip install numpy", "x = 1\n%matplotlib inline", "  %%time\nx"):
        (advice,) = notes(shared, code)
        assert "IPython" in advice
    assert notes(shared, "x = (1\n% 2 3)") == []


def test_statements_in_an_expression_say_what_to_use(shared: Peer) -> None:
    def message(code: str) -> str:
        failure = Failure(shared.request(EVAL, [code, None, None, 1, 0]).error[1])
        return str(failure.message)

    assert "this is no expression, exec takes statements (ErlangPython.run too)" in message("x = 1")
    assert "no expression" not in message("def (")
