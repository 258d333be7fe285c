defmodule ErlangPython.PoolCase do
  @moduledoc false
  # For tests that run real pools: starts them, and waits for what they become.

  use ExUnit.CaseTemplate

  alias ErlangPython.{Pool, TestPython}
  alias ErlangPython.Pool.Handle

  using do
    quote do
      import ErlangPython.PoolCase
      alias ErlangPython.{Error, Pool}
    end
  end

  @doc "Starts a pool under the test's supervisor and gives its name."
  def start_pool(options \\ []) do
    name = Keyword.get_lazy(options, :name, &unique_name/0)
    defaults = [name: name, workers: 2, python: TestPython.executable(), stdout: :ignore]
    start_supervised!({Pool, Keyword.merge(defaults, options)}, id: name)
    name
  end

  @doc "A pool's name for this test only. Tests are few, so are these atoms."
  def unique_name, do: :"pool_#{System.unique_integer([:positive])}"

  @doc "The running pool's handle, by which its tables and processes are found."
  def handle(pool) do
    {:ok, handle} = Handle.fetch(pool)
    handle
  end

  @doc "Waits until every worker is idle and nothing is open or queued."
  def await_whole(pool, workers) do
    eventually(fn ->
      assert %{workers: ^workers, idle: ^workers, queued: 0, in_flight: 0} = Pool.stats(pool)
    end)
  end

  @doc "Bindings of `gated/0`."
  def gate(dir), do: %{started: Path.join(dir, "started"), go: Path.join(dir, "go")}

  @doc "Python code that tells by a file that it has come to its gate, and waits there for another."
  def gated do
    """
    import pathlib, time
    pathlib.Path(started).touch()
    while not pathlib.Path(go).exists(): time.sleep(0.005)
    """
  end

  @doc "Keeps a worker of the pool busy: the task that waits for it, and its gate (`gate/1`) once it has come there."
  def occupy(pool, dir) do
    gate = gate(dir)
    task = Task.async(fn -> ErlangPython.exec(gated(), gate, pool: pool) end)
    await_file(gate.started)
    {task, gate}
  end

  def await_file(path), do: eventually(fn -> assert File.exists?(path) end)

  @doc """
  Repeats an assertion on outside state, which sends no message when it changes, until it holds. The limit
  is only reached when it never will.
  """
  def eventually(assertion, tries \\ 1_500) do
    assertion.()
  rescue
    error in ExUnit.AssertionError ->
      if tries == 0, do: reraise(error, __STACKTRACE__)
      Process.sleep(10)
      eventually(assertion, tries - 1)
  end

  @doc "For functions that Python calls, which get nil for it."
  def tell(process, message) do
    send(process, message)
    nil
  end

  @doc "Is there such a process, in any state but dead?"
  def os_process?(pid) do
    case System.cmd("ps", ["-o", "stat=", "-p", "#{pid}"], stderr_to_stdout: true) do
      {stat, 0} -> not String.starts_with?(String.trim(stat), "Z")
      {_output, _status} -> false
    end
  end

  @doc "Stops a process as SIGSTOP does, and waits until each of its threads has stopped, where the system shows them."
  def suspend(os_pid) do
    {_output, 0} = System.cmd("kill", ["-STOP", "#{os_pid}"])

    eventually(fn ->
      for path <- Path.wildcard("/proc/#{os_pid}/task/*/stat"),
          {:ok, stat} <- [File.read(path)] do
        <<state, _rest::binary>> = stat |> String.split(") ") |> List.last()
        # Stopped, or ended meanwhile: proc(5).
        assert state in ~c"TZX"
      end
    end)
  end

  def milliseconds(fun) do
    {microseconds, result} = :timer.tc(fun)
    {div(microseconds, 1_000), result}
  end

  @doc """
  Checks the milliseconds that `attempt` gives. The best of three counts: a busy machine makes some late, and not all.
  """
  def assert_within(limit, attempt, tries \\ 3) do
    ms = attempt.()

    if ms > limit and tries > 1,
      do: assert_within(limit, attempt, tries - 1),
      else: assert(ms <= limit)
  end
end
