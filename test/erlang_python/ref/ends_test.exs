defmodule ErlangPython.Ref.EndsTest do
  # What ends a Ref, and that nothing is kept afterwards.
  use ErlangPython.PoolCase, async: true

  import ErlangPython.TestRefs

  alias ErlangPython.Pool.{Handle, Slots}
  alias ErlangPython.Ref

  @moduletag :tmp_dir

  describe "ends:" do
    test "release, by anybody" do
      pool = start_pool(workers: 2)
      ref = keep!("[1]", pool)
      assert Task.await(Task.async(fn -> Ref.release(ref) end)) == :ok
      assert Ref.release(ref) == :ok

      for result <- [
            Ref.value(ref),
            Ref.get(ref, :x),
            Ref.call(ref, :x),
            ErlangPython.call(:builtins, :len, [ref])
          ],
          do: assert({:error, %Error{kind: :context_closed, executed: :no}} = result)

      none_kept(pool)
    end

    test "that of the owner, also of one that never had it" do
      pool = start_pool(workers: 2)
      test = self()

      {pid, monitor} =
        spawn_monitor(fn ->
          send(test, {:ref, keep!("[1]", pool)})
          Process.sleep(:infinity)
        end)

      assert_receive {:ref, ref}, 10_000
      assert Ref.value(ref) == {:ok, [1]}
      Process.exit(pid, :kill)
      assert_receive {:DOWN, ^monitor, :process, ^pid, :killed}
      eventually(fn -> assert {:error, %Error{kind: :context_closed}} = Ref.value(ref) end)

      for _ <- 1..100 do
        {:ok, pid} = Task.start(fn -> keep!("[1]", pool) end)
        Process.exit(pid, :kill)
      end

      # A normal end too.
      Task.await(Task.async(fn -> keep!("[1]", pool) end))
      none_kept(pool)
      await_whole(pool, 2)
    end

    test "a request that was given up leaves none", %{tmp_dir: dir} do
      pool = start_pool(workers: 1)
      gate = gate(dir)
      opts = [pool: pool, return: :ref, timeout: 50]
      late = "try:\n    import time; time.sleep(60)\nexcept BaseException: pass\n[1]"
      assert {:error, %Error{kind: :timeout}} = ErlangPython.run(late, gate, opts)
      none_kept(pool)
    end

    test "the worker's death, a restart, the pool's end" do
      pool = start_pool(workers: 2)
      name = unique_name()
      {:ok, supervisor} = Pool.start_link(name: name, workers: 1, stdout: :ignore)
      gone = keep!("[1]", name)
      Supervisor.stop(supervisor)
      assert {:error, %Error{kind: :context_lost, executed: :no}} = Ref.value(gone)
      # Another pool of its name, in which this id may name another object.
      {:ok, again} = Pool.start_link(name: name, workers: 1, stdout: :ignore)
      _other = keep!("'another'", name)
      assert {:error, %Error{kind: :context_lost}} = Ref.value(gone)
      assert Ref.release(gone) == :ok
      Supervisor.stop(again)

      ref = keep!("[1]", pool)

      assert {:error, %Error{kind: :worker_exit}} =
               ErlangPython.run("import os; os._exit(x[0])", x: ref)

      assert {:error, %Error{kind: :context_lost, executed: :no}} = Ref.value(ref)
      assert {:error, %Error{kind: :context_lost}} = ErlangPython.call(:m, :f, [ref], pool: pool)
      assert Ref.release(ref) == :ok
      await_whole(pool, 2)

      ref = keep!("[1]", pool)
      assert Pool.restart(pool) == :ok
      assert {:error, %Error{kind: :context_lost}} = Ref.value(ref)
      none_kept(pool)
    end

    test "max_requests replaces a worker that holds some" do
      pool = start_pool(workers: 1, max_requests: 5)
      ref = keep!("[1]", pool)
      pid = ErlangPython.call!(:os, :getpid, [], pool: pool)

      eventually(fn -> refute ErlangPython.call!(:os, :getpid, [], pool: pool) == pid end)
      assert {:error, %Error{kind: :context_lost}} = Ref.value(ref)
    end
  end

  test "a release takes no place from a request" do
    pool = start_pool(workers: 1, max_concurrent: 1)

    for _ <- 1..200 do
      ref = keep!("[1]", pool)
      assert Ref.release(ref) == :ok
      assert ErlangPython.eval("1", %{}, pool: pool) == {:ok, 1}
    end

    {:ok, handle} = Handle.fetch(pool)
    none_kept(pool)
    assert Slots.admitted(handle) == 0
  end
end
