defmodule ErlangPython.Faults.WorkersTest do
  # What must hold when parts die at the worst moment: each request has one end and runs at most once, others are
  # unharmed, and the pool is whole afterwards. Here: workers that come and go, or flood the BEAM.
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.Pool.Directory

  @moduletag :tmp_dir

  @gated gated()

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

  describe "the process behind a worker" do
    test "a call that no worker was there for in time says so" do
      code = "import time; time.sleep(600)"
      pool = start_pool(workers: 2, lazy: true, grace: 100, preload: [{:code, code}])
      assert {:error, error} = ErlangPython.eval("1", %{}, pool: pool, timeout: 50)
      assert {error.kind, error.executed} == {:timeout, :no}
      assert error.message =~ "all of them are still starting"
    end

    for {what, owner, part} <- [
          {"loop's reader", "event loop", :reader},
          {"loop's writer", "event loop", :writer},
          {"thread's reader", "thread", :reader}
        ] do
      test "loses its #{what}: it is replaced" do
        pool = start_pool(workers: 1)
        test = self()
        ErlangPython.register("#{pool}_meet", fn -> tell(test, :met) end)

        code =
          case unquote(owner) do
            "event loop" ->
              "import asyncio, erlang\nawait erlang.acall(name)\nawait asyncio.sleep(3600)"

            "thread" ->
              # The thread stays, with its channel.
              """
              import erlang, threading, time
              def meet():
                  erlang.call(name)
                  time.sleep(3600)
              threading.Thread(target=meet, daemon=True).start()
              time.sleep(3600)
              """
          end

        request =
          Task.async(ErlangPython, :exec, [
            code,
            %{name: "#{pool}_meet"},
            [pool: pool, timeout: :infinity]
          ])

        assert_receive :met
        {_generation, worker, _writer} = Directory.worker(handle(pool), 1)
        state = :sys.get_state(worker)
        {_ref, {channel, reader}} = Enum.find(state.readers, &is_tuple(elem(elem(&1, 1), 0)))
        victim = if unquote(part) == :reader, do: reader, else: state.writers[channel]
        Process.exit(victim, :kill)
        assert {:error, %Error{kind: :worker_exit} = error} = Task.await(request, 60_000)

        assert error.message =~
                 "was killed because it lost the connection of its #{unquote(owner)}"

        await_whole(pool, 1)
      end
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

  defp worker_processes(pool),
    do: DynamicSupervisor.which_children(ErlangPython.Pool.Supervisor.workers(pool))
end
