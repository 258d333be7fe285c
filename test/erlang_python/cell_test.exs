defmodule ErlangPython.CellTest do
  # Cells as a notebook runs them. `~PY` is read as `python ~S` where Elixir does not know it (Notebook.readable/1).
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.Cell.{Object, Session}
  alias ErlangPython.{Context, Display, Notebook}

  @moduletag :tmp_dir

  setup do
    pool = start_pool(workers: 1)
    # What `~PY` finds where no pool is named.
    :ok = ErlangPython.bind(pool: pool, mode: :shared)

    dictionary = for {{Context.Binding, _} = key, value} <- Process.get(), do: {key, value}

    {:ok, pool: pool, notebook: %{Notebook.new() | dictionary: dictionary}}
  end

  # Runs cells and gives their values.
  defp values(notebook, cells) do
    {values, notebook} =
      cells
      |> Enum.with_index(1)
      |> Enum.map_reduce(notebook, fn {code, number}, notebook ->
        Notebook.run(notebook, code, file: "notebook.livemd#cell:#{number}")
      end)

    {values, notebook}
  end

  defp cells(notebook, cells), do: notebook |> values(cells) |> elem(0)

  defp py(code), do: ~s(~PY"""\n#{code}\n""")

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

  describe "errors" do
    test "of Python point at the cell's lines", %{notebook: notebook} do
      code = "x = 0\n\n" <> py("def f(n):\n    return 1 / n\n\nf(x)")
      error = assert_raise Error, fn -> Notebook.run(notebook, code, file: "a.livemd#cell:7") end

      assert Exception.message(error) =~ """
             File "a.livemd#cell:7", line 7, in <module>
                 f(x)
             """

      assert [%{line: 7, function: "<module>"}, %{line: 5, function: "f", code: "return 1 / n"}] =
               error.traceback
    end

    test "of a function of an earlier cell show that cell", %{notebook: notebook} do
      {_, notebook} = Notebook.run(notebook, py("def f():\n    1 / 0"), file: "a#cell:1")
      error = assert_raise Error, fn -> Notebook.run(notebook, py("f()"), file: "a#cell:2") end

      assert [%{file: "a#cell:2", line: 2}, %{file: "a#cell:1", line: 3, code: "1 / 0"}] =
               error.traceback
    end

    test "of syntax are found when the cell is compiled", %{notebook: notebook} do
      error =
        assert_raise CompileError, fn ->
          Notebook.run(notebook, "send(self(), :ran)\n" <> py("x = 1\ny = = 2"), file: "a#cell:1")
        end

      assert %{file: "a#cell:1", line: 4} = error
      assert error.description == "SyntaxError: invalid syntax\n    y = = 2\n        ^"
      refute_received :ran

      assert_raise CompileError, ~r/'return' outside function/, fn ->
        Notebook.run(notebook, py("return 1"))
      end
    end

    test "leave what the cell did before", %{notebook: notebook} do
      assert_raise Error, ~r/division/, fn -> Notebook.run(notebook, py("x = 1\n1 / 0")) end
      assert {1, _} = Notebook.run(notebook, py("x"))
    end

    test "say what can't go in", %{notebook: notebook} do
      error =
        assert_raise Error, fn -> cells(notebook, ["x = %{{:a, 1} => <<1::1>>}", py("x")]) end

      assert %{kind: :encode, executed: :no} = error
      assert error.message =~ ~s(variables["x"])
    end

    test "name what was written wrong", %{notebook: notebook} do
      for {code, message} <- [
            {~S|python "#{1}"|, ~r/a literal without interpolation/},
            {~S|python String.upcase("x")|, ~r/a literal without interpolation/},
            {~S|python ~S"1", timout: 1|, ~r/did you mean :timeout/},
            {~S|python ~S"1", pool: "a"|, ~r/expected :pool to be/},
            {~S|sigil_PY(<<"1">>, [?a])|, ~r/takes no modifiers/}
          ] do
        error = assert catch_error(Notebook.run(notebook, code))
        assert Exception.message(error) =~ message
      end

      assert %Error{kind: :no_pool} =
               catch_error(Notebook.run(notebook, ~S|python ~S"1", pool: :nobody|))
    end

    test "say that no Python answers while a cell is compiled" do
      broken = start_pool(workers: 1, lazy: true, python: "/nonexistent/python")

      error =
        assert_raise CompileError, fn ->
          Notebook.run(Notebook.new(), "\n\npython ~S\"1\", pool: #{inspect(broken)}")
        end

      assert error.line == 3
      assert error.description =~ "no Python answers"
      assert error.description =~ "/nonexistent/python"
    end
  end

  describe "a cell" do
    test "may await", %{notebook: notebook} do
      assert [5, 5] =
               cells(notebook, [
                 py(
                   "import asyncio\nasync def f(n):\n    await asyncio.sleep(0)\n    return n\nx = await f(5)\nx"
                 ),
                 "x"
               ])
    end

    test "prints and shows in order where its process prints" do
      pool = start_pool(workers: 1, stdout: :caller)

      code =
        "print('a', end=' '); erlang.display(1); print('b'); erlang.display(2, 3); print('c')"

      run = fn -> Notebook.run(Notebook.new(), "python ~S\"#{code}\", pool: #{inspect(pool)}") end
      assert ExUnit.CaptureIO.capture_io(run) == "a 1\nb\n2\n3\nc\n"
    end

    test "tells its progress", %{notebook: notebook} do
      assert {[], _} =
               Notebook.run(%{notebook | binding: [me: self()]}, """
               python ~S"erlang.progress(1, 2); []", progress: me
               """)

      assert_received {:python_progress, %{done: 1, total: 2}}
    end

    test "has its timeout, and none by itself", %{notebook: notebook, pool: pool} do
      error =
        assert_raise Error, fn ->
          Notebook.run(notebook, "python ~S\"while True: pass\", timeout: 100")
        end

      assert error.kind == :timeout
      await_whole(pool, 1)
    end

    test "calls Elixir functions that run cells", %{notebook: notebook} do
      name = "cell_test_#{System.unique_integer([:positive])}"
      {fun, _} = Notebook.run(notebook, "fn x -> #{py("x + 1")} end")
      # In the namespace of the process in which it runs.
      context = Context.Binding.current()

      ErlangPython.register(name, fn x ->
        Context.Binding.within(context, fn -> fun.(x) end)
      end)

      assert {3, _} = Notebook.run(notebook, py("x = erlang.call('#{name}', 1)\nx + 1"))
      ErlangPython.unregister(name)
    end

    test "is code in a module, too" do
      pool = start_pool(workers: 1)

      [{module, _}] =
        Code.compile_string("""
        defmodule ErlangPython.CellTest.InModule#{System.unique_integer([:positive])} do
          import ErlangPython
          def double(x), do: python(~S"y = 2 * x; y", pool: #{inspect(pool)})
        end
        """)

      assert module.double(21) == 42
      assert Task.await(Task.async(fn -> module.double(1) end)) == 2
    end

    test "of a process that is killed stops", %{pool: pool} do
      test = self()

      {pid, ref} =
        spawn_monitor(fn ->
          notebook = Notebook.new() |> Notebook.run("test = #{inspect(pool)}; test") |> elem(1)
          notebook = %{notebook | binding: [test: test]}

          code =
            "import time\nerlang.send(test, 'in')\ntry:\n    time.sleep(60)\nfinally:\n    erlang.send(test, 'out')"

          Notebook.run(notebook, "python ~S\"\"\"\n#{code}\n\"\"\", pool: #{inspect(pool)}")
        end)

      assert_receive "in"
      Process.exit(pid, :kill)
      assert_receive {:DOWN, ^ref, :process, ^pid, :killed}
      assert_receive "out"
      await_whole(pool, 1)
    end
  end

  describe "a namespace" do
    test "belongs to a process and a pool" do
      [one, two] = [start_pool(workers: 1), start_pool(workers: 1)]
      notebook = Notebook.new()
      run = &(notebook |> Notebook.run("python ~S\"#{&1}\", pool: #{inspect(&2)}") |> elem(0))

      run.("def f(): return 1", one)
      run.("def f(): return 2", two)
      assert {run.("f()", one), run.("f()", two)} == {1, 2}
      other = Task.async(fn -> catch_error(run.("f()", one)) end)
      assert %Error{type: "NameError"} = Task.await(other)
    end

    test "ends with its process", %{pool: pool} do
      run = fn ->
        Notebook.run(Notebook.new(), "python ~S\"x = 1\", pool: #{inspect(pool)}")
        {:ok, session} = Session.fetch(pool: pool)
        assert Context.alive?(session.context)
        session.context
      end

      context = Task.await(Task.async(run))
      eventually(fn -> refute Context.alive?(context) end)
    end

    test "is said to be gone with its worker, and the next cell has a new one", %{
      notebook: notebook
    } do
      pool = start_pool(workers: 1)
      cell = &"python ~S\"#{&1}\", pool: #{inspect(pool)}"

      {_, notebook} =
        Notebook.run(%{notebook | dictionary: []}, cell.("def f(): return 1\nx = 1"))

      error =
        assert_raise Error, fn -> Notebook.run(notebook, cell.("import os; os._exit(3)")) end

      assert error.kind == :worker_exit
      assert error.message =~ "run them again"
      # Elixir's variables are still there, Python's functions are not.
      assert {2, notebook} = Notebook.run(notebook, cell.("x + 1"))
      assert_raise Error, ~r/NameError/, fn -> Notebook.run(notebook, cell.("f()")) end
    end

    test "is said to be gone when its worker has died between two cells", %{notebook: notebook} do
      pool = start_pool(workers: 1)
      cell = &"python ~S\"#{&1}\", pool: #{inspect(pool)}"
      {os_pid, notebook} = Notebook.run(notebook, cell.("import os; os.getpid()"))
      {:ok, %{context: context}} = Session.fetch(pool: pool)
      {_, 0} = System.cmd("kill", ["-KILL", "#{os_pid}"])
      eventually(fn -> refute Context.alive?(context) end)
      error = assert_raise Error, fn -> Notebook.run(notebook, cell.("1")) end
      assert error.kind == :context_lost
      assert error.message =~ "run them again"
      assert {1, _} = Notebook.run(notebook, cell.("1"))
    end

    test "is new when the pool's cell was run again" do
      pool = unique_name()
      {:ok, supervisor} = DynamicSupervisor.start_link(strategy: :one_for_one)

      options = [
        name: pool,
        workers: 1,
        python: ErlangPython.TestPython.executable(),
        stdout: :ignore
      ]

      start = fn -> DynamicSupervisor.start_child(supervisor, {Pool, options}) end
      cell = &"python ~S\"#{&1}\", pool: #{inspect(pool)}"

      {:ok, pid} = start.()
      {os_pid, notebook} = Notebook.run(Notebook.new(), cell.("import os; x = 1; os.getpid()"))
      # What Kino.start_child/1 does with the child of the same cell.
      :ok = DynamicSupervisor.terminate_child(supervisor, pid)
      refute os_process?(os_pid)
      {:ok, _pid} = start.()
      assert {2, notebook} = Notebook.run(notebook, cell.("x + 1"))
      assert_raise Error, ~r/NameError/, fn -> Notebook.run(notebook, cell.("os")) end
    end
  end

  test "in IEx, a cell has the variables of the shell", %{tmp_dir: folder} do
    input = ~S'''
    import ErlangPython
    x = 20
    python ~S"y = x + 1; 2 * y"
    {:y, y}
    python ~S"object"
    python ~S"""
    z = 1
    z = z + = 1
    """
    '''

    File.write!(Path.join(folder, "input"), input)
    python = Path.dirname(ErlangPython.TestPython.executable())

    {output, 0} =
      System.cmd("sh", ["-c", "iex --dot-iex '' -pa \"$EBIN\" < input"],
        cd: folder,
        stderr_to_stdout: true,
        env: [
          {"EBIN", Application.app_dir(:erlang_python, "ebin")},
          {"PATH", python <> ":" <> System.get_env("PATH")}
        ]
      )

    assert output =~ "42\niex"
    assert output =~ "{:y, 21}\n"
    assert output =~ "<class 'object'>\n"

    assert output =~
             "(CompileError) iex:8: SyntaxError: invalid syntax\n    z = z + = 1\n            ^"
  end
end
