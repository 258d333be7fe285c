defmodule ErlangPython.FaultsTest do
  # What must hold when parts die at the worst moment: each request has one end and runs at most once,
  # others are unharmed, and the pool is whole afterwards.
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.Pool.{Directory, Handle, Heir, Pending, Slots}

  @moduletag :tmp_dir

  @gated gated()

  # Appends a line in one write, so that the runs of many workers can be counted.
  @append """
  import os
  fd = os.open(log, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
  os.write(fd, b"%d\\n" % n)
  os.close(fd)
  """

  defp runs(log) do
    case File.read(log) do
      {:ok, text} -> text |> String.split() |> Enum.frequencies()
      {:error, :enoent} -> %{}
    end
  end

  defp handle(pool) do
    {:ok, handle} = Handle.fetch(pool)
    handle
  end

  defp kill_part(pool, part) do
    pid = Directory.whereis(handle(pool), part)
    ref = Process.monitor(pid)
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^ref, :process, ^pid, _reason}
  end

  defp await_in_flight(pool, n),
    do: eventually(fn -> assert %{in_flight: ^n} = Pool.stats(pool) end)

  describe "a request that had ended" do
    test "when the next one killed its worker is not run again", %{tmp_dir: dir} do
      pool = start_pool(workers: 1, window: 16)

      for round <- 1..10 do
        dir = Path.join(dir, "#{round}") |> tap(&File.mkdir_p!/1)
        log = Path.join(dir, "log")
        gate = gate(dir)
        first = Task.async(fn -> ErlangPython.run(@gated <> "0", gate, pool: pool) end)
        await_file(gate.started)

        before =
          for n <- 1..5 do
            bindings = %{log: log, n: n}
            task = Task.async(fn -> ErlangPython.exec(@append, bindings, pool: pool) end)
            await_in_flight(pool, n + 1)
            task
          end

        killer =
          Task.async(fn -> ErlangPython.exec("import os; os._exit(1)", %{}, pool: pool) end)

        await_in_flight(pool, 7)
        File.touch!(gate.go)
        [_first | results] = Task.await_many([first | before])
        assert {:error, %Error{kind: :worker_exit}} = Task.await(killer)

        for {result, n} <- Enum.with_index(results, 1) do
          assert runs(log)["#{n}"] == 1
          assert result == :ok or match?({:error, %Error{kind: :worker_exit}}, result)
        end

        await_whole(pool, 1)
      end
    end
  end

  describe "code that holds Python's lock" do
    # PyDLL keeps the lock during a call, so that no thread of Python's runs.
    @hold "import ctypes\nctypes.PyDLL(None).usleep(1_500_000)\n'done'"

    test "is not killed for the deadline of a request behind it", %{tmp_dir: dir} do
      pool = start_pool(workers: 1, window: 16, grace: 100)
      gate = gate(dir)
      holder = Task.async(fn -> ErlangPython.run(@gated <> @hold, gate, pool: pool) end)
      await_file(gate.started)
      test = self()

      behind =
        Task.async(fn ->
          send(test, :sent)
          ErlangPython.eval("1", %{}, pool: pool, timeout: 500)
        end)

      assert_receive :sent
      await_in_flight(pool, 2)
      File.touch!(gate.go)
      assert {:error, %Error{kind: :timeout}} = Task.await(behind)
      assert Task.await(holder) == {:ok, "done"}
      await_whole(pool, 1)
    end

    test "is killed for its own" do
      pool = start_pool(workers: 1, grace: 50)

      assert {:error, %Error{kind: :timeout}} =
               ErlangPython.run("import ctypes; ctypes.PyDLL(None).sleep(60)", %{},
                 pool: pool,
                 timeout: 50
               )

      await_whole(pool, 1)
    end
  end

  describe "changes of size" do
    test "down and up again, while the superfluous workers still have requests", %{tmp_dir: dir} do
      pool = start_pool(workers: 3, window: 1)

      gates = for n <- 1..3, do: gate(Path.join(dir, "#{n}") |> tap(&File.mkdir_p!/1))

      tasks =
        for gate <- gates,
            do: Task.async(fn -> ErlangPython.run(@gated <> "7", gate, pool: pool) end)

      Enum.each(gates, &await_file(&1.started))
      assert Pool.scale(pool, 1) == :ok
      up = Task.async(fn -> Pool.scale(pool, 3) end)
      Enum.each(gates, &File.touch!(&1.go))
      assert Task.await_many(tasks) == [{:ok, 7}, {:ok, 7}, {:ok, 7}]
      assert Task.await(up) == :ok
      await_whole(pool, 3)
      pids = for worker <- Pool.workers(pool), do: worker.os_pid
      assert length(Enum.uniq(pids)) == 3
    end

    test "down while the new workers start", %{tmp_dir: dir} do
      gate = gate(dir)
      pool = start_pool(workers: 1)
      [%{os_pid: first}] = Pool.workers(pool)
      # What is started from now on does not get ready before the gate opens.
      code = "started, go = #{inspect(gate.started)}, #{inspect(gate.go)}\n" <> @gated
      slow = start_pool(workers: 2, lazy: true, preload: [{:code, code}])
      await_file(gate.started)
      starting = fn -> for %{id: id, state: :starting} <- Pool.workers(slow), do: id end
      assert starting.() == [1, 2]
      # Returns when the one that stays is ready.
      down = Task.async(fn -> Pool.scale(slow, 1) end)
      eventually(fn -> assert starting.() == [1] end)
      File.touch!(gate.go)
      assert Task.await(down) == :ok
      assert {:ok, 2} = ErlangPython.eval("1 + 1", %{}, pool: slow)
      await_whole(slow, 1)
      assert [%{os_pid: ^first}] = Pool.workers(pool)
    end

    test "down in the middle of a restart, which returns", %{tmp_dir: dir} do
      pool = start_pool(workers: 2, window: 1)
      gates = for n <- 1..2, do: gate(Path.join(dir, "#{n}") |> tap(&File.mkdir_p!/1))

      tasks =
        for gate <- gates,
            do: Task.async(fn -> ErlangPython.run(@gated <> "7", gate, pool: pool) end)

      Enum.each(gates, &await_file(&1.started))
      restart = Task.async(fn -> Pool.restart(pool) end)
      eventually(fn -> assert Enum.any?(Pool.workers(pool), &(&1.state == :draining)) end)
      assert Pool.scale(pool, 1) == :ok
      Enum.each(gates, &File.touch!(&1.go))
      assert Task.await_many(tasks) == [{:ok, 7}, {:ok, 7}]
      assert Task.await(restart) == :ok
      await_whole(pool, 1)
      assert Pool.restart(pool) == :ok
    end

    test "a worker that does not end in order is replaced all the same" do
      pool = start_pool(workers: 1, grace: 100)
      code = "import atexit, time; atexit.register(time.sleep, 600)"
      :ok = ErlangPython.exec(code, %{}, pool: pool)

      [%{os_pid: before}] = Pool.workers(pool)
      assert Pool.restart(pool) == :ok
      assert [%{os_pid: pid, state: :idle}] = Pool.workers(pool)
      assert pid != before
      refute os_process?(before)
    end
  end

  describe "max_requests with a full window" do
    test "loses nothing and runs nothing twice", %{tmp_dir: dir} do
      pool = start_pool(workers: 2, window: 16, max_requests: 7)
      log = Path.join(dir, "log")

      results =
        1..200
        |> Task.async_stream(
          &ErlangPython.run(@append <> "n", %{log: log, n: &1}, pool: pool),
          max_concurrency: 40,
          timeout: 60_000
        )
        |> Enum.map(fn {:ok, result} -> result end)

      assert results == Enum.map(1..200, &{:ok, &1})
      assert runs(log) == Map.new(1..200, &{"#{&1}", 1})
      await_whole(pool, 2)
    end
  end

  describe "the process behind a worker" do
    test "a call that no worker was there for in time says so" do
      code = "import time; time.sleep(600)"
      pool = start_pool(workers: 2, lazy: true, grace: 100, preload: [{:code, code}])
      assert {:error, error} = ErlangPython.eval("1", %{}, pool: pool, timeout: 50)
      assert {error.kind, error.executed} == {:timeout, :no}
      assert error.message =~ "all of them are still starting"
    end

    test "dies while it starts: the pool says so, and tries again", %{tmp_dir: dir} do
      gate = gate(dir)
      code = "started, go = #{inspect(gate.started)}, #{inspect(gate.go)}\n" <> @gated
      pool = start_pool(workers: 1, lazy: true, preload: [{:code, code}])
      await_file(gate.started)
      waiting = Task.async(fn -> ErlangPython.eval("1", %{}, pool: pool, timeout: :infinity) end)
      [{_id, worker, _type, _modules}] = worker_processes(pool)
      Process.exit(worker, :kill)
      assert {:error, %Error{kind: :no_workers, executed: :no} = error} = Task.await(waiting)
      assert error.message =~ "killed"
      File.touch!(gate.go)
      eventually(fn -> assert {:ok, 1} = ErlangPython.eval("1", %{}, pool: pool) end)
      await_whole(pool, 1)
    end

    test "ends with the status that asks for packages, although they are there" do
      assert {:error, {%Error{kind: :no_workers} = error, _child}} =
               start_supervised(
                 {Pool,
                  name: unique_name(),
                  workers: 1,
                  python: ErlangPython.TestPython.executable(),
                  stdout: :ignore,
                  preload: [{:code, "import os; os._exit(78)"}]}
               )

      assert error.message =~ "exited with status 78"
    end
  end

  defp worker_processes(pool),
    do: DynamicSupervisor.which_children(ErlangPython.Pool.Supervisor.workers(pool))

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

  test "a request that has moved since it was asked back is still run", %{tmp_dir: dir} do
    pool = start_pool(workers: 1, window: 1)
    gate = gate(dir)
    first = Task.async(fn -> ErlangPython.run(@gated <> "0", gate, pool: pool) end)
    await_file(gate.started)
    second = Task.async(fn -> ErlangPython.eval("1", %{}, pool: pool) end)
    eventually(fn -> assert %{queued: 1} = Pool.stats(pool) end)
    [id] = for {id, 0} <- Pending.places(handle(pool)), do: id

    # What its caller sends if it looked before the request went back into the queue. The ping is answered
    # behind it.
    {_generation, worker, _writer} = Directory.worker(handle(pool), 1)
    send(worker, {:rebalance, id})
    assert %{"rss" => _bytes} = ErlangPython.Worker.ping(worker, 10_000)
    File.touch!(gate.go)
    assert Task.await(first) == {:ok, 0}
    assert Task.await(second) == {:ok, 1}
  end

  test "a claim that its caller did not live to use is given back" do
    pool = start_pool(workers: 1, window: 1)
    {:ok, 1} = Slots.claim(handle(pool))
    Slots.add_queued(handle(pool), 1)
    assert {:ok, 1} = ErlangPython.eval("1", %{}, pool: pool)
    await_whole(pool, 1)
    assert Pool.restart(pool) == :ok
  end

  describe "what Python prints" do
    for stdout <- [:logger, :ignore] do
      test "faster than it can be read fills no memory and holds nobody up (#{stdout})" do
        pool = start_pool(workers: 1, stdout: unquote(stdout))
        [{_id, worker, _type, _modules}] = worker_processes(pool)
        printer = :sys.get_state(worker).printing.printer

        flood =
          Task.async(fn ->
            ErlangPython.run("import os\nwhile True: os.write(1, b'x\\n' * 30_000)", %{},
              pool: pool,
              timeout: 1_500
            )
          end)

        most = watch(flood, worker, 0)
        assert {:error, %Error{kind: :timeout}} = Task.await(flood)
        # What it still has to log would go on into the output of later tests.
        if printer, do: Process.exit(printer, :kill)
        # Packets of up to 64 KiB. The flood has tens of thousands a second.
        assert most < 2_000
        await_whole(pool, 1)
      end
    end

    defp watch(task, worker, most) do
      case Process.info(worker, :message_queue_len) do
        {:message_queue_len, length} when length >= 0 ->
          if Process.alive?(task.pid), do: watch(task, worker, max(most, length)), else: most

        nil ->
          most
      end
    end
  end

  test "requests end when their pool does, also if the heir had to be replaced", %{tmp_dir: dir} do
    pool = start_pool(workers: 1)
    gate = gate(dir)
    running = Task.async(fn -> ErlangPython.exec(@gated, gate, pool: pool) end)
    await_file(gate.started)

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
end
