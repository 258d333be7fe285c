defmodule ErlangPython.Faults.PoolProcessesTest do
  # What must hold when parts die at the worst moment: each request has one end and runs at most once, others are
  # unharmed, and the pool is whole afterwards. Here: the pool's own processes.
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.Pool.{Directory, Heir, Slots}

  @moduletag :tmp_dir

  @gated gated()

  describe "under load," do
    # Callers that repeat a request until told to stop, each checking that the answer is its own.
    defp load(pool, callers) do
      for caller <- 1..callers do
        Task.async(fn -> repeat(pool, caller, 0, %{}) end)
      end
    end

    defp repeat(pool, caller, n, seen) do
      kind =
        case ErlangPython.eval("[a, b]", %{a: caller, b: n}, pool: pool, timeout: 20_000) do
          {:ok, value} ->
            assert value == [caller, n]
            :ok

          {:error, %Error{kind: kind}} ->
            kind
        end

      seen = Map.update(seen, kind, 1, &(&1 + 1))

      receive do
        :stop ->
          assert {:messages, []} = Process.info(self(), :messages)
          seen
      after
        0 -> repeat(pool, caller, n + 1, seen)
      end
    end

    defp stop_load(tasks) do
      Enum.each(tasks, &send(&1.pid, :stop))

      tasks
      |> Task.await_many(60_000)
      |> Enum.reduce(%{}, &Map.merge(&1, &2, fn _k, a, b -> a + b end))
    end

    defp await_progress(pool) do
      eventually(fn -> assert {:ok, 1} = ErlangPython.eval("1", %{}, pool: pool) end)
    end

    for part <- [:manager, :callers] do
      test "the #{part} dies" do
        pool = start_pool(workers: 2)
        tasks = load(pool, 20)

        for _round <- 1..2 do
          await_progress(pool)
          kill_part(pool, unquote(part))
          await_progress(pool)
        end

        seen = stop_load(tasks)
        assert Map.keys(seen) -- [:ok, :worker_exit, :no_pool] == []
        assert seen.ok > 0
        await_whole(pool, 2)
      end
    end

    test "the router dies" do
      pool = start_pool(workers: 2)
      tasks = load(pool, 20)
      await_progress(pool)
      supervisor = ErlangPython.Pool.Supervisor.whereis(pool)
      children = Supervisor.which_children(supervisor)
      {_id, router, _type, _modules} = List.keyfind(children, Router, 0)
      Process.exit(router, :kill)
      await_progress(pool)
      seen = stop_load(tasks)
      assert Map.keys(seen) -- [:ok, :worker_exit, :no_pool] == []
      await_whole(pool, 2)
    end

    test "callers are killed at any moment" do
      pool = start_pool(workers: 2, max_concurrent: 100)

      for round <- 1..150 do
        caller = spawn(fn -> repeat(pool, round, 0, %{}) end)
        spin(:rand.uniform(3_000))
        Process.exit(caller, :kill)
      end

      await_whole(pool, 2)
      eventually(fn -> assert Slots.admitted(handle(pool)) == 0 end)
      assert :ets.info(handle(pool).pending, :size) == 0
      assert :ets.info(handle(pool).queue, :size) == 0
      eventually(fn -> assert :ets.info(handle(pool).callers, :size) == 0 end)
    end

    # Some microseconds, for which no timer is fine enough.
    defp spin(microseconds) do
      until = System.monotonic_time(:microsecond) + microseconds

      Stream.repeatedly(fn -> System.monotonic_time(:microsecond) end)
      |> Enum.find(&(&1 >= until))
    end

    test "the pool is stopped: callers get errors, never an exception, and nothing afterwards" do
      for _round <- 1..5 do
        pool = start_pool(workers: 1)
        tasks = load(pool, 50)
        await_progress(pool)
        stop_supervised!(pool)
        seen = stop_load(tasks)
        assert Map.keys(seen) -- [:ok, :worker_exit, :no_pool, :cancelled] == []
      end
    end
  end

  describe "a cleaner of temporary files removes" do
    defp remove(pool, what) do
      folder = Directory.folder(handle(pool))
      for name <- File.ls!(folder), what.(name), do: File.rm!(Path.join(folder, name))
      folder
    end

    for endpoint <- [:ipc, :tcp] do
      test "the pool's folder: new workers have it again (#{endpoint})" do
        pool = start_pool(workers: 2, endpoint: unquote(endpoint))
        await_whole(pool, 2)
        before = Enum.map(Pool.workers(pool), & &1.os_pid)
        File.rmdir!(remove(pool, fn _name -> true end))
        assert {:ok, 1} = ErlangPython.eval("1", %{}, pool: pool)

        for _worker <- 1..2 do
          exit = ErlangPython.exec("import os; os._exit(1)", %{}, pool: pool)
          assert {:error, %Error{kind: :worker_exit}} = exit
        end

        eventually(fn -> assert {:ok, 1} = ErlangPython.eval("1", %{}, pool: pool) end)
        await_whole(pool, 2)
        assert [_one, _two] = Enum.map(Pool.workers(pool), & &1.os_pid) -- before
      end
    end

    test "the socket alone: the next worker finds a new one, and the others keep their connections" do
      pool = start_pool(workers: 2)
      await_whole(pool, 2)
      folder = remove(pool, &(&1 == "zmq"))
      {:ok, os_pid} = ErlangPython.eval("__import__('os').getpid()", %{}, pool: pool)
      {:error, _exit} = ErlangPython.exec("import os; os._exit(1)", %{}, pool: pool)
      eventually(fn -> assert File.exists?(Path.join(folder, "zmq")) end)
      await_whole(pool, 2)
      assert length(Enum.map(Pool.workers(pool), & &1.os_pid) -- [os_pid]) in 1..2
    end

    test "what says which requests had begun: those that had not are run all the same", %{
      tmp_dir: dir
    } do
      pool = start_pool(workers: 1, window: 8)
      {:ok, 1} = ErlangPython.eval("1", %{}, pool: pool)
      remove(pool, &(&1 != "zmq"))
      {running, _gate} = occupy(pool, dir)
      others = for _request <- 1..4, do: Task.async(ErlangPython, :eval, ["2", %{}, [pool: pool]])
      eventually(fn -> assert Pool.stats(pool).in_flight + Pool.stats(pool).queued == 5 end)
      assert Pool.interrupt(pool, 1) == :ok
      assert {:error, %Error{kind: :cancelled}} = Task.await(running)
      assert Task.await_many(others) == List.duplicate({:ok, 2}, 4)
    end
  end

  test "the pool's supervisor is killed: the one above it starts the pool again" do
    name = unique_name()
    python = ErlangPython.TestPython.executable()
    pool = {Pool, name: name, workers: 2, python: python, grace: 300, stdout: :ignore}
    options = [strategy: :one_for_one, max_restarts: 3]
    start = {Supervisor, :start_link, [[pool], options]}
    above = start_supervised!(%{id: :above, start: start, type: :supervisor})

    # Its workers take their time to end.
    {:ok, _results} =
      Pool.broadcast(name, {:exec, "import atexit, time; atexit.register(time.sleep, 600)"})

    killed = ErlangPython.Pool.Supervisor.whereis(name)
    Process.exit(killed, :kill)

    eventually(fn ->
      assert [{_id, started, _type, _modules}] = Supervisor.which_children(above)
      assert is_pid(started) and started != killed
      assert started == ErlangPython.Pool.Supervisor.whereis(name)
    end)

    eventually(fn -> assert {:ok, 1} = ErlangPython.eval("1", %{}, pool: name) end)
    await_whole(name, 2)
  end

  test "callers that are killed in numbers are one look through the open requests", %{
    tmp_dir: dir
  } do
    pool = start_pool(workers: 1, window: 1)
    {running, gate} = occupy(pool, dir)
    call = fn -> ErlangPython.eval("1", %{}, pool: pool, timeout: :infinity) end
    callers = for _ <- 1..1_000, do: spawn(call)
    eventually(fn -> assert %{queued: 1_000} = Pool.stats(pool) end)

    watcher = Directory.whereis(handle(pool), :callers)
    reductions = fn -> watcher |> Process.info(:reductions) |> elem(1) end
    :ok = :sys.suspend(watcher)
    refs = Enum.map(callers, &Process.monitor/1)
    Enum.each(callers, &Process.exit(&1, :kill))
    for ref <- refs, do: assert_receive({:DOWN, ^ref, _, _, _})
    before = reductions.()
    :ok = :sys.resume(watcher)
    eventually(fn -> assert %{queued: 0} = Pool.stats(pool) end)
    # Behind all of them.
    :sys.get_state(watcher)
    assert (reductions.() - before) / 1_000 < 200
    assert :ets.info(handle(pool).callers, :size) == 1

    File.touch!(gate.go)
    assert Task.await(running) == :ok
    await_whole(pool, 1)
  end

  test "requests end when their pool does, also if the heir had to be replaced", %{tmp_dir: dir} do
    pool = start_pool(workers: 1)
    {running, _gate} = occupy(pool, dir)

    heir = Process.whereis(Heir)
    Process.exit(heir, :kill)
    is_heir = fn -> :ets.info(handle(pool).pending, :heir) end
    eventually(fn -> assert is_heir.() not in [heir, :none] end)

    kill_part(pool, :callers)
    assert {:error, %Error{kind: :no_pool, executed: :maybe}} = Task.await(running)
    await_progress(pool)
  end

  test "stopping a pool that is still starting leaves nothing", %{tmp_dir: dir} do
    gate = gate(dir)
    code = "started, go = #{inspect(gate.started)}, #{inspect(gate.go)}\n" <> @gated
    pool = start_pool(workers: 1, lazy: true, preload: [{:code, code}])
    await_file(gate.started)
    waiting = Task.async(fn -> ErlangPython.eval("1", %{}, pool: pool, timeout: :infinity) end)
    eventually(fn -> assert %{queued: 1} = Pool.stats(pool) end)
    folder = Directory.folder(handle(pool))
    stop_supervised!(pool)
    assert {:error, %Error{kind: :no_pool, executed: :no}} = Task.await(waiting)
    refute File.exists?(folder)
  end

  defp kill_part(pool, part) do
    pid = Directory.whereis(handle(pool), part)
    ref = Process.monitor(pid)
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^ref, :process, ^pid, _reason}
  end
end
