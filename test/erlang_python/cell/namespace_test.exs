defmodule ErlangPython.Cell.NamespaceTest do
  # To whom Python's names belong, and when they are gone.
  use ErlangPython.CellCase, async: true

  alias ErlangPython.Cell.Session
  alias ErlangPython.Context

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
end
