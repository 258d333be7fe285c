defmodule ErlangPython.IntrospectionTest do
  use ErlangPython.PoolCase, async: true

  @moduletag :tmp_dir
  @gated gated()

  defp busy(pool, dir) do
    gate = gate(dir)
    code = "def serve():\n" <> String.replace(@gated, ~r/^/m, "    ") <> "\nserve()"
    task = Task.async(fn -> ErlangPython.exec(code, gate, pool: pool, file: "serve.py") end)
    await_file(gate.started)
    task
  end

  describe "Pool.stacks/3" do
    test "of a worker that is busy, and of one that is not", %{tmp_dir: dir} do
      pool = start_pool(workers: 1)
      # Right after its start it still prepares for errors.
      assert ErlangPython.eval("1", %{}, pool: pool) == {:ok, 1}
      assert {:ok, [%{main: true, name: "MainThread", frames: []} | _]} = Pool.stacks(pool, 1)
      task = busy(pool, dir)
      assert {:ok, [%{main: true, frames: frames, id: id} | _others]} = Pool.stacks(pool, 1)

      assert [%{file: "serve.py", function: "<module>"}, %{function: "serve", line: line} | _] =
               frames

      assert is_integer(line) and is_integer(id)
      assert Pool.interrupt(pool, 1) == :ok
      assert {:error, %Error{kind: :cancelled}} = Task.await(task)
    end

    test "of a worker whose C code holds the lock is a timeout" do
      pool = start_pool(workers: 1)
      # No end, no signal, no lock given back: a pattern that tries all ways.
      code = "import re; re.match('(a|aa)+$', 'a' * 60 + 'b')"
      {caller, ref} = spawn_monitor(fn -> ErlangPython.exec(code, %{}, pool: pool) end)
      eventually(fn -> assert {:error, %Error{kind: :timeout}} = Pool.stacks(pool, 1, 50) end)
      Process.exit(caller, :kill)
      assert_receive {:DOWN, ^ref, :process, _pid, :killed}
      await_whole(pool, 1)
    end

    test "of a worker that is not there" do
      pool = start_pool(workers: 1)
      assert {:error, %Error{kind: :no_workers} = error} = Pool.stacks(pool, 2)
      assert error.message =~ "no worker 2"
      assert_raise ArgumentError, ~r/:id of a worker/, fn -> Pool.stacks(pool, "1") end
    end
  end

  test "Pool.workers/1 says of each worker what Pool.stats/1 counts" do
    pool = start_pool(workers: 3)
    {:ok, context} = ErlangPython.Context.open(pool: pool)
    test = self()

    wait = fn ->
      send(test, {:waits, self()})
      receive do: (:go -> 7)
    end

    task = Task.async(fn -> ErlangPython.eval("wait()", %{wait: wait}, pool: pool) end)
    assert_receive {:waits, callback}
    assert %{bound: 1, in_callback: 1, idle: 1} = Pool.stats(pool)
    states = for %{state: state} <- Pool.workers(pool), do: state
    assert Enum.sort(states) == [:bound, :idle, :in_callback]
    send(callback, :go)
    assert Task.await(task) == {:ok, 7}
    ErlangPython.Context.close(context)
    await_whole(pool, 3)
  end

  describe "Pool.interrupt/2" do
    test "of an idle worker, and of none" do
      pool = start_pool(workers: 1)
      assert Pool.interrupt(pool, 1) == :idle
      assert ErlangPython.eval("1", %{}, pool: pool) == {:ok, 1}
      assert Pool.interrupt(pool, 1) == :idle
      assert {:error, %Error{kind: :no_workers}} = Pool.interrupt(pool, 9)
    end

    test "stops one request; those behind it and the worker's state stay", %{tmp_dir: dir} do
      pool = start_pool(workers: 1, window: 4)
      ErlangPython.exec("kept = 7", %{}, pool: pool)
      task = busy(pool, dir)
      next = Task.async(fn -> ErlangPython.eval("kept", %{}, pool: pool) end)
      # It was taken back from the worker, which is held.
      eventually(fn -> assert %{in_flight: 1, queued: 1} = Pool.stats(pool) end)
      assert Pool.interrupt(pool, 1) == :ok
      assert {:error, %Error{kind: :cancelled}} = Task.await(task)
      assert Task.await(next) == {:ok, 7}
    end

    test "stops one of a context", %{tmp_dir: dir} do
      pool = start_pool(workers: 1)
      {:ok, context} = ErlangPython.Context.open(pool: pool, mode: :shared)
      gate = gate(dir)
      task = Task.async(fn -> ErlangPython.exec(gated(), gate, context: context) end)
      await_file(gate.started)
      assert Pool.interrupt(pool, 1) == :ok
      assert {:error, %Error{kind: :cancelled}} = Task.await(task)
      assert ErlangPython.eval("1", %{}, context: context) == {:ok, 1}
      assert Pool.interrupt(pool, 1) == :idle
    end

    test "stops one that waits in a callback" do
      pool = start_pool(workers: 1)
      test = self()

      ErlangPython.register("introspection_test_wait", fn ->
        send(test, {:waiting, self()})
        receive do: (:never -> nil)
      end)

      code = "erlang.call('introspection_test_wait')"
      task = Task.async(fn -> ErlangPython.exec(code, %{}, pool: pool) end)
      assert_receive {:waiting, callback}, 30_000
      ref = Process.monitor(callback)
      assert Pool.interrupt(pool, 1) == :ok
      assert {:error, %Error{kind: :cancelled}} = Task.await(task)
      assert_receive {:DOWN, ^ref, :process, _pid, _reason}, 30_000
    end

    test "code that does not stop goes with its worker, after the grace" do
      pool = start_pool(workers: 1, grace: 100)
      test = self()
      ErlangPython.register("introspection_test_in", fn -> tell(test, :in) end)

      code = """
      while True:
          try:
              erlang.introspection_test_in()
              while True: len("")
          except BaseException: pass
      """

      task = Task.async(fn -> ErlangPython.exec(code, %{}, pool: pool) end)
      assert_receive :in, 30_000
      assert Pool.interrupt(pool, 1) == :ok
      assert {:error, %Error{kind: :worker_exit}} = Task.await(task)
      await_whole(pool, 1)
    end
  end
end
