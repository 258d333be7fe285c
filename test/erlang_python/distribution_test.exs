defmodule ErlangPython.DistributionTest do
  # What comes from other nodes and goes to them. In a BEAM of its own, which is a node and starts another one.
  use ExUnit.Case, async: true

  alias ErlangPython.TestPython

  @moduletag :tmp_dir

  # Run in both nodes.
  @module """
  defmodule Node2 do
    def open do
      test = self()
      spawn(fn -> send(test, ErlangPython.Context.open(pool: :p, mode: :shared)) && Process.sleep(:infinity) end)
      receive do: ({:ok, context} -> context)
    end

    def start(python) do
      {:ok, _} = Application.ensure_all_started(:erlang_python)
      test = self()
      spawn(fn -> send(test, ErlangPython.Pool.start_link(pool(python))) && Process.sleep(:infinity) end)
      receive do: ({:ok, _pid} -> :ok)
    end

    defp pool(python), do: [name: :p, workers: 1, stdout: :ignore, python: python]

    def collect(test, numbers) do
      receive do
        {999, _text} -> send(test, {:collected, Enum.reverse([999 | numbers])})
        {n, _text} -> collect(test, [n | numbers])
      end
    end
  end
  """

  @start """
  [{module, code}] = Code.compile_string(File.read!(hd(System.argv())))
  python = Enum.at(System.argv(), 1)
  paths = Enum.flat_map(:code.get_path(), &['-pa', &1])
  {:ok, _peer, other} = :peer.start_link(%{name: :peer.random_name(), args: paths})
  {:module, _} = :erpc.call(other, :code, :load_binary, [module, 'node2', code])
  {:ok, _} = :erpc.call(other, Application, :ensure_all_started, [:elixir])
  :ok = Node2.start(python)
  """

  test "a context of another node is never taken for one of this", %{tmp_dir: dir} do
    assert """
           :ok = :erpc.call(other, Node2, :start, [python])
           ours = for _ <- 1..20, do: Node2.open().id
           theirs = for _ <- 1..20, do: :erpc.call(other, Node2, :open, [])
           [] = Enum.filter(theirs, & &1.id in ours)
           {:error, error} = ErlangPython.eval("1", %{}, context: hd(theirs))
           IO.puts(error.kind)
           """
           |> in_nodes(dir) =~ "context_lost"
  end

  test "a node that takes nothing holds no request up, and gets all in order when it goes on", %{
    tmp_dir: dir
  } do
    assert """
           pid = Node.spawn(other, Node2, :collect, [self(), []])
           os_pid = :erpc.call(other, :os, :getpid, [])
           {_, 0} = System.cmd("kill", ["-STOP", "\#{os_pid}"])
           code = "import erlang\\nfor n in range(1000): erlang.send(pid, (n, 'x' * 30_000))"
           :ok = ErlangPython.exec(code, %{pid: pid}, pool: :p)
           {:ok, 4.0} = ErlangPython.call(:math, :sqrt, [16], pool: :p)
           {_, 0} = System.cmd("kill", ["-CONT", "\#{os_pid}"])
           numbers = Enum.to_list(0..999)
           receive do: ({:collected, ^numbers} -> IO.puts("all in order"))
           """
           |> in_nodes(dir) =~ "all in order"
  end

  defp in_nodes(script, dir) do
    file = Path.join(dir, "node2.ex")
    File.write!(file, @module)
    paths = Enum.flat_map(:code.get_path(), &["-pa", to_string(&1)])
    name = "erlang_python_#{System.pid()}_#{System.unique_integer([:positive])}"

    options =
      ["--sname", name] ++ paths ++ ["-e", @start <> script, file, TestPython.executable()]

    {output, status} = System.cmd("elixir", options, stderr_to_stdout: true)
    assert {status, output} == {0, output}
    output
  end
end
