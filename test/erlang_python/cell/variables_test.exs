defmodule ErlangPython.Cell.VariablesTest do
  # Variables of a notebook and names of Python: what goes in, what comes out, and what stays in Python.
  use ErlangPython.CellCase, async: true

  alias ErlangPython.Cell.Object
  alias ErlangPython.Display

  describe "variables" do
    test "that the code reads go in, and those that it assigns come out", %{notebook: notebook} do
      assert [_, 42, {42, 6, "ab", nil}] =
               cells(notebook, [
                 "x = 20; text = \"ab\"; other = self()",
                 py("import math\ny = x * 2 + 2\nz = math.factorial(3)\nnothing = None\ny"),
                 "{y, z, text, nothing}"
               ])
    end

    test "that are assigned in both languages follow each other", %{notebook: notebook} do
      assert [1, 2, 4, 5, 10] =
               cells(notebook, [
                 "x = 1",
                 py("x = x + 1\nx"),
                 "x = x * 2",
                 py("x += 1\nx"),
                 py("x = x * 2\nx")
               ])
    end

    test "come out when they were changed in place, also by functions of earlier cells",
         %{notebook: notebook} do
      assert [[], nil, [1], nil, [1], [1, 2], [1, 2]] =
               cells(notebook, [
                 "seen = []",
                 py("def see(n):\n    seen.append(n)\nNone"),
                 py("see(1)\nseen"),
                 # Nothing here says that `seen` is read.
                 py("see(2)"),
                 "seen",
                 py("seen"),
                 "seen"
               ])
    end

    test "stay what they are in Python until Elixir rebinds them", %{notebook: notebook} do
      assert [_, "defaultdict", %{"a" => 1, "b" => 0}, %{"a" => 1}, "dict", "Point", "bytes"] =
               cells(notebook, [
                 py("""
                 import collections, dataclasses
                 @dataclasses.dataclass
                 class Point:
                     x: int
                 counts = collections.defaultdict(int)
                 counts["a"] += 1
                 point = Point(1)
                 raw = b"text"
                 """),
                 py("counts['b']\ntype(counts).__name__"),
                 "counts",
                 "counts = Map.delete(counts, \"b\")",
                 py("type(counts).__name__"),
                 py("point.x += 1\ntype(point).__name__"),
                 py("type(raw).__name__")
               ])
    end

    test "go in as a cell that is run again has them", %{notebook: notebook} do
      {_, notebook} = Notebook.run(notebook, "x = 1")
      {_, later} = Notebook.run(notebook, py("x += 1"))
      assert {2, later} = Notebook.run(later, "x")
      assert {3, _} = Notebook.run(later, py("x += 1\nx"))
      # The second cell again.
      assert {2, _} = Notebook.run(notebook, py("x += 1\nx"))
    end

    test "that a cell does not assign after all keep their values", %{notebook: notebook} do
      assert [1, 2, "u", nil, {2, nil}] =
               cells(notebook, [
                 py("x = 1\nx"),
                 "x = 2",
                 "unread = \"u\"",
                 py("if False:\n    x = 3\n    y = 4"),
                 "{x, y}"
               ])
    end

    test "that a cell deletes are gone in Python", %{notebook: notebook} do
      assert [_, nil, 1] = cells(notebook, [py("x = 1"), py("del x"), "x"])

      {_, notebook} = values(notebook, [py("def drop():\n    global a\n    del a"), py("a = 1")])
      # Python has lost it behind Elixir's back: Elixir's goes in.
      assert [_, 1] = cells(notebook, [py("drop()"), py("a")])
    end

    test "have names that Elixir knows", %{notebook: notebook} do
      assert [_, [1, 2, 3, 4], 4] =
               cells(notebook, [
                 py("X = 1; end = 2; _hidden = 3; é = 4"),
                 py("[X, end, _hidden, é]"),
                 "é"
               ])
    end

    test "of any type, and pids and functions, pass", %{notebook: notebook} do
      assert [_, 3, true] =
               cells(notebook, [
                 "add = &(&1 + &2); me = self()",
                 py("sum = erlang.call(add, 1, 2)\nme2 = me\nsum"),
                 "me2 == self()"
               ])
    end

    test "may be iterators, for more than one cell", %{notebook: notebook} do
      assert [_, 1, 2, true] =
               cells(notebook, [
                 "numbers = ErlangPython.iterator(Stream.iterate(1, & &1 * 2))",
                 py("next(numbers)"),
                 py("next(numbers)"),
                 "is_struct(numbers, ErlangPython.Iterator)"
               ])
    end

    test "are not read where Python's own function is called", %{notebook: notebook} do
      assert [_, [0, 1]] = cells(notebook, ["list = 3", py("list(range(2))")])
    end

    test "beyond the largest message stay in Python" do
      pool = start_pool(workers: 1, max_message_size: 100_000)
      notebook = Notebook.new()
      cell = &"python ~S\"#{&1}\", pool: #{inspect(pool)}"

      assert [_, %Object{type: "str"}, %Display{data: %{"text/plain" => text}}, 200_000] =
               cells(notebook, [cell.("t = 'x' * 200_000"), "t", cell.("t"), cell.("len(t)")])

      assert text =~ "characters left out"

      # What has come in has not to go out again.
      assert [_, 80_000, true] =
               cells(notebook, [
                 "big = String.duplicate(\"x\", 80_000)",
                 cell.("len(big)"),
                 "is_binary(big)"
               ])
    end
  end

  describe "objects without a counterpart" do
    test "stay in Python, and are known by a struct", %{notebook: notebook} do
      assert [_, %Object{type: "A", text: "<A>"} = object, 7, [%Object{}, 7]] =
               cells(notebook, [
                 py("class A:\n    n = 7\n    def __repr__(self): return '<A>'\na = A()"),
                 "a",
                 "b = a; " <> py("b.n"),
                 "[a, #{py("a.n")}]"
               ])

      assert inspect(object) == "#ErlangPython.Cell.Object<A: <A>>"
    end

    test "are those of the cell that is run again", %{notebook: notebook} do
      {_, notebook} = Notebook.run(notebook, py("o = [object()]"), file: "a#cell:1")
      second = py("o = o + [object()]\nlen(o)")
      {2, _} = Notebook.run(notebook, second, file: "a#cell:2")
      {2, again} = Notebook.run(notebook, second, file: "a#cell:2")
      {3, _} = Notebook.run(again, second, file: "a#cell:3")
    end

    test "that were assigned anew are an error, not another object", %{notebook: notebook} do
      {_, notebook} = Notebook.run(notebook, py("o = object()"))
      {_, notebook} = Notebook.run(notebook, "old = o")
      {_, notebook} = Notebook.run(notebook, py("o = object()"))
      error = assert_raise Error, fn -> Notebook.run(notebook, py("old")) end
      assert error.type == "LookupError"
      assert error.message =~ "'old'"
    end

    test "of another context are refused", %{notebook: notebook} do
      other = start_pool(workers: 1)

      assert_raise ArgumentError, ~r/o stands for a Python object of another pool/, fn ->
        cells(notebook, [py("o = object()"), "python ~S\"o\", pool: #{inspect(other)}"])
      end
    end
  end
end
