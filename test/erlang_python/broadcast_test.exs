defmodule ErlangPython.BroadcastTest do
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.Pool.Directory

  @moduletag :tmp_dir
  @gated gated()

  @pid {:eval, "__import__('os').getpid()"}

  defp ids(pool), do: pool |> Pool.workers() |> Enum.map(& &1.id) |> Enum.sort()

  test "runs in every worker and gives each one's value" do
    pool = start_pool(workers: 3)
    assert {:ok, results} = Pool.broadcast(pool, @pid)
    expected = Map.new(Pool.workers(pool), &{&1.id, {:ok, &1.os_pid}})
    assert results == expected

    assert Pool.broadcast(pool, {:exec, "x = 1"}) == {:ok, Map.new(1..3, &{&1, {:ok, nil}})}

    assert Pool.broadcast(pool, {:call, :builtins, "dict", [[{"b", 2}]]}, kwargs: [a: 1]) ==
             {:ok, Map.new(1..3, &{&1, {:ok, %{"a" => 1, "b" => 2}}})}
  end

  test "out of a callback runs in the worker that waits for it, if all that are left drain" do
    pool = start_pool(workers: 1)
    test = self()

    ask = fn ->
      send(test, {:asked, self()})
      receive do: (:go -> pool |> Pool.broadcast({:eval, "6 * 7"}) |> elem(1) |> Map.get(1))
    end

    asking = Task.async(fn -> ErlangPython.eval("ask()", %{ask: ask}, pool: pool) end)
    assert_receive {:asked, callback}
    restart = Task.async(fn -> Pool.restart(pool) end)
    eventually(fn -> assert [%{state: :draining}] = Pool.workers(pool) end)
    send(callback, :go)
    assert Task.await(asking, 20_000) == {:ok, {:ok, 42}}
    assert Task.await(restart, 20_000) == :ok
  end

  test "does not wait for a worker that starts, and is no longer wanted", %{tmp_dir: dir} do
    # The second worker stays in its start, as long as there is no file.
    code = """
    import os, time
    first = not os.path.exists(folder + "/there")
    open(folder + "/there", "w").close()
    while not (first or os.path.exists(folder + "/go")): time.sleep(0.01)
    """

    pool = start_pool(workers: 1, preload: [code: "folder = #{inspect(dir)}\n" <> code])
    await_whole(pool, 1)
    scaling = Task.async(fn -> Pool.scale(pool, 2) end)
    eventually(fn -> assert [_ready, %{state: :starting}] = Pool.workers(pool) end)
    broadcast = Task.async(fn -> Pool.broadcast(pool, {:eval, "1"}, timeout: 60_000) end)
    manager = Directory.whereis(handle(pool), :manager)
    eventually(fn -> assert [_waits] = :sys.get_state(manager).waiting.running end)

    assert Pool.scale(pool, 1) == :ok
    assert Task.await(broadcast, 30_000) == {:ok, %{1 => {:ok, 1}}}
    assert Task.await(scaling, 30_000) == :ok
  end

  test "an error is that worker's own" do
    pool = start_pool(workers: 2)
    pid = Pool.workers(pool) |> hd() |> Map.fetch!(:os_pid)
    code = "import os\nif os.getpid() == #{pid}: raise ValueError('here')"
    assert {:ok, %{1 => {:error, error}, 2 => {:ok, nil}}} = Pool.broadcast(pool, {:exec, code})
    assert %Error{kind: :python, type: "ValueError", message: "here"} = error
  end

  test "a coroutine function is awaited" do
    pool = start_pool(workers: 2)
    Pool.broadcast(pool, {:exec, "async def answer(): return 42"})

    assert Pool.broadcast(pool, {:call, :__main__, :answer, []}) ==
             {:ok, %{1 => {:ok, 42}, 2 => {:ok, 42}}}
  end

  test "waits for the end of what a busy worker runs", %{tmp_dir: dir} do
    pool = start_pool(workers: 2)
    gate = gate(dir)
    Pool.broadcast(pool, {:exec, "log = []"})

    task =
      Task.async(fn -> ErlangPython.exec(@gated <> "\nlog.append('busy')", gate, pool: pool) end)

    await_file(gate.started)
    broadcast = Task.async(fn -> Pool.broadcast(pool, {:exec, "log.append('all')"}) end)
    # The other one has run it, and this one has it.
    eventually(fn -> assert Pool.stats(pool).in_flight == 2 end)
    File.touch!(gate.go)
    assert Task.await(task) == :ok
    assert {:ok, %{1 => {:ok, nil}, 2 => {:ok, nil}}} = Task.await(broadcast)
    {:ok, logs} = Pool.broadcast(pool, {:eval, "log"})
    assert logs |> Map.values() |> Enum.sort() == [{:ok, ["all"]}, {:ok, ["busy", "all"]}]
  end

  test "one that is busy for too long has a timeout and never runs it", %{tmp_dir: dir} do
    pool = start_pool(workers: 1)
    {task, gate} = occupy(pool, dir)

    assert {:ok, %{1 => {:error, %Error{kind: :timeout}}}} =
             Pool.broadcast(pool, {:exec, "seen = True"}, timeout: 500)

    # Asked over the channel that tells the worker to leave it, and so after that.
    assert {:ok, _stacks} = Pool.stacks(pool, 1)
    File.touch!(gate.go)
    assert Task.await(task) == :ok
    assert ErlangPython.eval("'seen' in globals()", %{}, pool: pool) == {:ok, false}
    await_whole(pool, 1)
    refute_received _any
  end

  test "runs between requests also where one waits in a callback" do
    pool = start_pool(workers: 1)
    test = self()

    ErlangPython.register("broadcast_test_wait", fn ->
      send(test, {:waiting, self()})
      receive do: (:go -> nil)
    end)

    ErlangPython.exec("log = []", %{}, pool: pool)
    code = "erlang.call('broadcast_test_wait')\nlog.append('request')"
    task = Task.async(fn -> ErlangPython.exec(code, %{}, pool: pool) end)
    assert_receive {:waiting, callback}, 30_000
    broadcast = Task.async(fn -> Pool.broadcast(pool, {:exec, "log.append('broadcast')"}) end)
    eventually(fn -> assert Pool.stats(pool).in_flight == 2 end)
    send(callback, :go)
    assert Task.await(task) == :ok
    assert {:ok, %{1 => {:ok, nil}}} = Task.await(broadcast)
    assert ErlangPython.eval("log", %{}, pool: pool) == {:ok, ["request", "broadcast"]}
  end

  test "out of a callback, and out of a task of it, it waits for nobody" do
    pool = start_pool(workers: 2)

    ErlangPython.register("broadcast_test_own", fn ->
      inspect(Pool.broadcast(pool, {:eval, "7"}))
    end)

    ErlangPython.register("broadcast_test_task", fn ->
      fn -> Pool.broadcast(pool, {:eval, "7"}) end |> Task.async() |> Task.await() |> inspect()
    end)

    expected = inspect({:ok, %{1 => {:ok, 7}, 2 => {:ok, 7}}})

    for name <- ["broadcast_test_own", "broadcast_test_task"],
        do:
          assert(ErlangPython.eval("erlang.call('#{name}')", %{}, pool: pool) == {:ok, expected})
  end

  test "a worker that dies under it has its own error, and the pool is whole" do
    pool = start_pool(workers: 2)
    pid = Pool.workers(pool) |> hd() |> Map.fetch!(:os_pid)
    code = "import os\nif os.getpid() == #{pid}: os._exit(3)"
    assert {:ok, %{1 => {:error, error}, 2 => {:ok, nil}}} = Pool.broadcast(pool, {:exec, code})
    assert %Error{kind: :worker_exit} = error
    assert {:ok, %{1 => {:ok, 1}, 2 => {:ok, 1}}} = Pool.broadcast(pool, {:eval, "1"})
  end

  test "the death of the caller takes it back", %{tmp_dir: dir} do
    pool = start_pool(workers: 1)
    {task, gate} = occupy(pool, dir)
    {caller, ref} = spawn_monitor(fn -> Pool.broadcast(pool, {:exec, "seen = True"}) end)
    eventually(fn -> assert Pool.stats(pool).in_flight == 2 end)
    Process.exit(caller, :kill)
    assert_receive {:DOWN, ^ref, :process, _pid, :killed}
    eventually(fn -> assert Pool.stats(pool).in_flight == 1 end)
    File.touch!(gate.go)
    assert Task.await(task) == :ok
    assert ErlangPython.eval("'seen' in globals()", %{}, pool: pool) == {:ok, false}
  end

  describe "replay" do
    test "reaches workers that start later, in order, with large arguments and coroutines" do
      pool = start_pool(workers: 1)
      large = String.duplicate("x", 200_000)
      replay = &Pool.broadcast(pool, &1, replay: true)

      assert {:ok, %{1 => {:ok, nil}}} =
               replay.({:exec, "sizes = []\nasync def later(n): sizes.append(n)"})

      assert {:ok, _} = replay.({:exec, "def add(b): sizes.append((len(b), type(b).__name__))"})
      assert {:ok, _} = replay.({:call, :__main__, :add, [large]})
      assert {:ok, _} = replay.({:call, :__main__, :add, [<<255, 0>>]})
      assert {:ok, _} = replay.({:call, :__main__, :later, [1]})
      assert Pool.scale(pool, 2) == :ok
      sizes = [{200_000, "str"}, {2, "bytes"}, 1]

      assert Pool.broadcast(pool, {:eval, "sizes"}) ==
               {:ok, %{1 => {:ok, sizes}, 2 => {:ok, sizes}}}

      assert Pool.restart(pool) == :ok

      assert Pool.broadcast(pool, {:eval, "sizes"}) ==
               {:ok, %{1 => {:ok, sizes}, 2 => {:ok, sizes}}}
    end

    test "one of the same name takes the place of the last" do
      pool = start_pool(workers: 1)

      for n <- 1..3,
          do: Pool.broadcast(pool, {:exec, "n = globals().get('n', 0) + #{n}"}, replay: :n)

      assert ErlangPython.eval("n", %{}, pool: pool) == {:ok, 6}
      assert Pool.restart(pool) == :ok
      assert ErlangPython.eval("n", %{}, pool: pool) == {:ok, 3}
    end

    test "one that raised anywhere is not kept" do
      pool = start_pool(workers: 2)

      assert {:ok, %{1 => {:error, %Error{type: "ZeroDivisionError"}}}} =
               Pool.broadcast(pool, {:exec, "1 / 0"}, replay: true)

      assert Pool.restart(pool) == :ok
    end

    test "a worker in which it raises does not start, and says why", %{tmp_dir: dir} do
      pool = start_pool(workers: 1)
      path = Path.join(dir, "there")
      File.write!(path, "")

      assert {:ok, %{1 => {:ok, _}}} =
               Pool.broadcast(pool, {:call, :os, :stat, [path]}, replay: true)

      File.rm!(path)
      assert {:error, %Error{kind: :no_workers} = error} = Pool.scale(pool, 2)
      assert error.message =~ "replay: true" and error.cause.type == "FileNotFoundError"
    end

    test "no worker misses it while workers come and go" do
      pool = start_pool(workers: 2)
      test = self()
      restarts = Task.async(fn -> for _ <- 1..3, do: Pool.restart(pool) end)

      for n <- 1..20 do
        assert {:ok, results} = Pool.broadcast(pool, {:exec, "n#{n} = 1"}, replay: {test, n})
        assert map_size(results) > 0
      end

      assert Task.await(restarts, 60_000) == [:ok, :ok, :ok]
      code = "[n for n in range(1, 21) if f'n{n}' not in globals()]"
      assert Pool.broadcast(pool, {:eval, code}) == {:ok, %{1 => {:ok, []}, 2 => {:ok, []}}}
    end
  end

  test "bad input" do
    pool = start_pool(workers: 1)

    assert_raise ArgumentError, ~r/{:call, module, function, args}/, fn ->
      Pool.broadcast(pool, :gc)
    end

    assert_raise ArgumentError, ~r/:timeout/, fn -> Pool.broadcast(pool, @pid, timeout: 0) end
    assert_raise ArgumentError, ~r/unknown/i, fn -> Pool.broadcast(pool, @pid, replays: true) end

    assert_raise ArgumentError, ~r/unknown option :kwargs/, fn ->
      Pool.broadcast(pool, @pid, kwargs: [x: 1])
    end

    assert {:error, %Error{kind: :encode}} =
             Pool.broadcast(pool, {:call, :math, :sqrt, [<<1::3>>]})

    assert ids(pool) == [1]
  end

  test "a pool that can't start says why" do
    pool = start_pool(workers: 1, lazy: true, preload: ["no_such_module"], stdout: :ignore)
    assert {:error, %Error{kind: :no_workers}} = Pool.broadcast(pool, @pid)
  end
end
