"""Which names of a cell come in from Elixir, and which go out to it."""

import sys

import pytest

from erlang_python_worker._cell_names import analyse


def names(code: str) -> "tuple[set[str], set[str], set[str]]":
    answer = analyse(code, "cell", 1)
    assert answer[0] == "ok", answer
    return set(answer[1]), set(answer[2]), set(answer[3])


# Code, what it reads, what it may assign, what it assigns whichever way it runs.
CASES = [
    ("x", "x", "", ""),
    ("x = 1\nx", "", "x", "x"),
    ("x = x + 1", "x", "x", "x"),
    ("x += 1", "x", "x", "x"),
    ("x.y += 1", "x", "", ""),
    ("x[k] = v", "x k v", "", ""),
    ("(a, [b, *c]), d.e = x", "x d", "a b c", "a b c"),
    ("a = b = c", "c", "a b", "a b"),
    ("x: int", "int", "", ""),
    ("x: T = y", "T y", "x", "x"),
    ("f'{x:{width}}'", "x width", "", ""),
    # Python's own names, when they are called.
    ("list(x) + [len]", "x len", "", ""),
    ("sum(f(x) for x in map(str, xs))", "f str xs", "", ""),
    # What may not run assigns nothing for certain.
    ("if c: x = 1\nx", "c x", "x", ""),
    ("if c: x = 1\nelse: x = 2\nx", "c", "x", "x"),
    ("for i in xs: y = i\ni, y", "xs i y", "i y", ""),
    ("for x in x: pass", "x", "x", ""),
    ("for i in xs: pass\nelse: z = i", "xs i", "i z", ""),
    ("while c: c = f(c)", "c f", "c", ""),
    ("with a as b: c = b\nc", "a c", "b c", ""),
    ("try: x = f()\nexcept E as e: x = g(e)\nx", "f E g", "x", "x"),
    ("try: x = f()\nexcept E: pass\nx", "f E x", "x", ""),
    ("try: x = 1\nfinally: y = 2\nx, y", "", "x y", "x y"),
    ("a and (b := c)\nb", "a c b", "b", ""),
    ("x = 1\ndel x\nx", "x", "x", ""),
    ("del x", "x", "", ""),
    # Imports, functions and classes stay in Python.
    ("import a.b, c as d\nfrom e import f as g, h\na, d, g, h", "", "", ""),
    ("import x\nx = 1", "", "", ""),
    ("def f(a, b=d, *c, k=e, **o) -> r: return a, b, c, k, o, z", "d e r z", "", ""),
    ("def f(): return f()", "", "", ""),
    ("def f(): return g()\ndef g(): return f()", "", "", ""),
    ("def f(): return x\ny = f()\nx = 1", "x", "x y", "x y"),
    ("x = 1\ndef f(): return x", "", "x", "x"),
    ("@d\ndef f(): pass", "d", "", ""),
    ("async def f(): await g()\nawait f()", "g", "", ""),
    ("class A(B, metaclass=M):\n    y = z\n    def f(self): return self, y", "B M z y", "", ""),
    ("lambda a, b=c: (a, b, d)", "c d", "", ""),
    # Inner scopes.
    ("def f():\n    x = 1\n    def g(): return x, y\n    return g", "y", "", ""),
    ("def f():\n    n = 0\n    def g():\n        nonlocal n\n        n += 1", "", "", ""),
    ("def f():\n    global n\n    n += 1", "n", "n", ""),
    ("def f():\n    import a as b\n    with c as d: return b, d", "c", "", ""),
    ("def f():\n    try: pass\n    except E as e: return e", "E", "", ""),
    ("def f():\n    for i in xs: return [i for i in i]", "xs", "", ""),
    ("def f():\n    return [(n := i) for i in xs], n", "xs", "", ""),
    ("def f():\n    class A:\n        y = q\n    return A", "q", "", ""),
    ("def f(a):\n    return lambda b: (a, b, c)", "c", "", ""),
    # Comprehensions.
    ("[x * k for x in xs if x > m]", "k xs m", "", ""),
    ("[x for x in x]", "x", "", ""),
    ("{k: v for k, v in d.items()}", "d", "", ""),
    ("[b for a in xs for b in a.ys(z)]", "xs z", "", ""),
    ("[y := f(x), y**2]", "f x y", "y", ""),
    ("[last := x for x in xs]\nlast", "xs last", "last", ""),
    ("ys = [y for y in [x for x in xs]]", "xs", "ys", "ys"),
    ("(lambda: [z for z in w])()", "w", "", ""),
]


@pytest.mark.parametrize(("code", "read", "assigned", "certain"), CASES)
def test_names_of(code: str, read: str, assigned: str, certain: str) -> None:
    assert names(code) == (set(read.split()), set(assigned.split()), set(certain.split()))


@pytest.mark.skipif(sys.version_info < (3, 10), reason="match is new in 3.10")
def test_names_of_match() -> None:
    code = """match x:
    case [a, *b]: pass
    case {"k": c, **d}: pass
    case P(e) as f if g: h = 1
f"""
    assert names(code) == ({"x", "P", "g", "f"}, set("abcdefh"), set())
    inner = "def f(x):\n    match x:\n        case {'k': c, **d}: return c, d, e"
    assert names(inner) == ({"e"}, set(), set())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="except* is new in 3.11")
def test_names_of_except_star() -> None:
    assert names("try: x = 1\nexcept* E: x = 2\nx") == ({"E"}, {"x"}, {"x"})


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type is new in 3.12")
def test_names_of_type() -> None:
    assert names("type T = int\nT") == (set(), set(), set())


def test_a_syntax_error_says_where() -> None:
    answer = analyse("x = 1\ny = = 2\n", "notebook", 10)
    assert answer[:4] == ["error", "SyntaxError", "invalid syntax", 11]
    assert answer[4].strip() == "y = = 2"
    assert answer[5] == 5
    # One that only the compiler sees.
    assert analyse("x\nreturn 1", "notebook", 3)[:4] == [
        "error",
        "SyntaxError",
        "'return' outside function",
        4,
    ]
    assert analyse("  x", "cell", 1)[1] == "IndentationError"
    assert analyse("x = '\0'", "cell", 1)[0] == "error"
    assert analyse("-" * 100_000 + "1", "cell", 1)[0] == "error"


def test_warnings_wait_until_the_cell_runs() -> None:
    assert names("x is 1") == ({"x"}, set(), set())
