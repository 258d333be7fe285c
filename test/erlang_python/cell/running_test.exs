defmodule ErlangPython.Cell.RunningTest do
  # What a cell can do while it runs, and where: in notebooks, modules and IEx.
  use ErlangPython.CellCase, async: true

  alias ErlangPython.Context

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
      name = "cell_running_test_#{System.unique_integer([:positive])}"
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
        defmodule ErlangPython.Cell.RunningTest.InModule#{System.unique_integer([:positive])} do
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

  @tag :tmp_dir
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
