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
