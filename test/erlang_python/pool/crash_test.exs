defmodule ErlangPython.Pool.CrashTest do
  # A pool whose own processes die comes back.
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.Pool.{Directory, Handle}

  @moduletag :tmp_dir

  describe "a crash of a part of the pool itself:" do
    for part <- [:manager] do
      test "the #{part}" do
        pool = start_pool(workers: 1)
        {:ok, handle} = Handle.fetch(pool)
        pid = Directory.whereis(handle, unquote(part))
        ref = Process.monitor(pid)
        Process.exit(pid, :kill)
        assert_receive {:DOWN, ^ref, :process, ^pid, :killed}
        eventually(fn -> assert {:ok, 1} = ErlangPython.eval("1", %{}, pool: pool) end)
        await_whole(pool, 1)
      end
    end

    test "the manager, under those who wait for it" do
      pool = start_pool(workers: 1)
      manager = Directory.whereis(handle(pool), :manager)
      :ok = :sys.suspend(manager)

      waiting =
        for ask <- [
              fn -> Pool.restart(pool) end,
              fn -> Pool.scale(pool, 2) end,
              fn -> Pool.broadcast(pool, {:eval, "1"}) end,
              fn -> ErlangPython.Context.open(pool: pool) end,
              fn -> raised(fn -> Pool.workers(pool) end) end,
              fn -> raised(fn -> ErlangPython.info(pool: pool) end) end
            ],
            do: Task.async(ask)

      eventually(fn ->
        {:messages, messages} = Process.info(manager, :messages)
        assert Enum.count(messages, &match?({:"$gen_call", _, _}, &1)) == length(waiting)
      end)

      Process.exit(manager, :kill)

      for result <- Task.await_many(waiting) do
        assert {:error, %Error{kind: :no_pool, executed: executed} = error} = result
        assert executed in [:no, :maybe]
        assert error.message =~ "has crashed, and another takes its place"
      end
    end

    defp raised(fun) do
      fun.()
    rescue
      error in Error -> {:error, error}
    end

    test "the manager, under the start of its pool", %{tmp_dir: dir} do
      gate = gate(dir)
      code = "started, go = #{inspect(gate.started)}, #{inspect(gate.go)}\n" <> gated()
      pool = unique_name()

      starting =
        Task.async(fn ->
          python = ErlangPython.TestPython.executable()
          Pool.start_link(name: pool, workers: 1, python: python, preload: [code: code])
        end)

      await_file(gate.started)
      Process.exit(Directory.whereis(handle(pool), :manager), :kill)
      assert {:error, %Error{kind: :no_pool, executed: :no}} = Task.await(starting)
      assert Handle.fetch(pool) == :error
    end

    test "a worker's process", %{tmp_dir: dir} do
      pool = start_pool(workers: 1)
      [%{os_pid: os_pid}] = Pool.workers(pool)
      {running, _gate} = occupy(pool, dir)
      {:ok, handle} = Handle.fetch(pool)
      {_generation, worker, _writer} = Directory.worker(handle, 1)
      Process.exit(worker, :kill)
      assert {:error, %Error{kind: :worker_exit, executed: :maybe}} = Task.await(running)
      eventually(fn -> refute os_process?(os_pid) end)
      await_whole(pool, 1)
    end

    test "workers that die before they have served, each after a longer wait" do
      pool = start_pool(workers: 1)
      assert failures_after_kill(pool).unused == 1
      assert failures_after_kill(pool).unused == 2
      assert {:ok, 1} = ErlangPython.eval("1", %{}, pool: pool)
      assert failures_after_kill(pool).unused == 0
    end

    # Those of the pool when its worker, killed now, has a successor.
    defp failures_after_kill(pool) do
      [%{os_pid: before}] = Pool.workers(pool)
      {_output, 0} = System.cmd("kill", ["-9", "#{before}"])

      eventually(fn ->
        assert [%{os_pid: now, state: :idle}] = Pool.workers(pool)
        assert now != before
      end)

      :sys.get_state(Directory.whereis(handle(pool), :manager)).failures
    end

    test "its tables: open requests end, and the pool comes back", %{tmp_dir: dir} do
      pool = start_pool(workers: 1)
      {running, _gate} = occupy(pool, dir)
      {:ok, handle} = Handle.fetch(pool)
      Process.exit(Directory.whereis(handle, :callers), :kill)
      assert {:error, %Error{kind: :no_pool, executed: :maybe}} = Task.await(running)
      eventually(fn -> assert {:ok, 1} = ErlangPython.eval("1", %{}, pool: pool) end)
    end
  end
end
