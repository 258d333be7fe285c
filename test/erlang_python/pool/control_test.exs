defmodule ErlangPython.Pool.ControlTest do
  # A pool that runs: restart, scale, look into, stop.
  use ErlangPython.PoolCase, async: true

  @moduletag :tmp_dir

  @gated gated()

  test "restart/1 replaces every worker and loses no request" do
    pool = start_pool(workers: 2)
    before = for worker <- Pool.workers(pool), do: worker.os_pid
    test = self()

    traffic =
      Task.async(fn ->
        Stream.repeatedly(fn -> ErlangPython.eval("1 + 1", %{}, pool: pool) end)
        |> Enum.reduce_while(0, fn result, count ->
          assert result == {:ok, 2}
          if count == 50, do: send(test, :flowing)

          receive do
            :stop -> {:halt, count}
          after
            0 -> {:cont, count + 1}
          end
        end)
      end)

    assert_receive :flowing
    assert Pool.restart(pool) == :ok
    send(traffic.pid, :stop)
    assert Task.await(traffic) > 50
    after_ = for worker <- Pool.workers(pool), do: worker.os_pid
    assert length(after_) == 2
    assert before -- after_ == before
    Enum.each(before, fn pid -> eventually(fn -> refute os_process?(pid) end) end)
  end

  test "scale/2 out of a callback does not wait for the worker that waits for that", context do
    pool = start_pool(workers: 2)
    {busy, gate} = occupy(pool, context.tmp_dir)
    fit = fn count -> Pool.scale(pool, count) == :ok end

    # Out of each worker, one of which is to go and to come back.
    for _ <- 1..2 do
      assert ErlangPython.eval("[fit(1), fit(2)]", %{fit: fit}, pool: pool) ==
               {:ok, [true, true]}
    end

    File.touch!(gate.go)
    assert Task.await(busy) == :ok
    await_whole(pool, 2)
  end

  test "scale/2 adds and removes workers" do
    pool = start_pool(workers: 1)
    assert Pool.scale(pool, 3) == :ok
    await_whole(pool, 3)
    assert Pool.scale(pool, 1) == :ok
    await_whole(pool, 1)
    assert length(Pool.workers(pool)) == 1
    assert_raise ArgumentError, fn -> Pool.scale(pool, 0) end
  end

  test "workers/1 says what each is doing", %{tmp_dir: dir} do
    pool = start_pool(workers: 2)
    {running, gate} = occupy(pool, dir)
    workers = Pool.workers(pool)
    assert Enum.sort(for worker <- workers, do: worker.state) == [:busy, :idle]
    assert Enum.all?(workers, &(&1.memory > 1_000_000 and &1.os_pid > 1))
    File.touch!(gate.go)
    Task.await(running)
  end

  describe "stop/2" do
    test "lets open requests end, refuses new ones, and leaves nothing", %{tmp_dir: dir} do
      pool = unique_name()

      {:ok, pid} =
        Pool.start_link(
          name: pool,
          workers: 1,
          window: 1,
          python: ErlangPython.TestPython.executable(),
          stdout: :ignore
        )

      [%{os_pid: os_pid}] = Pool.workers(pool)
      gate = gate(dir)
      running = Task.async(fn -> ErlangPython.run(@gated <> "'ended'", gate, pool: pool) end)
      await_file(gate.started)
      queued = Task.async(fn -> ErlangPython.eval("'queued'", %{}, pool: pool) end)
      eventually(fn -> assert %{queued: 1} = Pool.stats(pool) end)

      stopping = Task.async(fn -> Pool.stop(pool) end)

      eventually(fn ->
        assert {:error, %Error{kind: :no_pool, executed: :no}} =
                 ErlangPython.eval("1", %{}, pool: pool, timeout: 20)
      end)

      File.touch!(gate.go)
      assert Task.await(running) == {:ok, "ended"}
      assert Task.await(queued) == {:ok, "queued"}
      assert Task.await(stopping) == :ok
      refute Process.alive?(pid)
      refute os_process?(os_pid)
      assert {:error, %Error{kind: :no_pool}} = ErlangPython.eval("1", %{}, pool: pool)
    end

    @tag :tmp_dir
    test "lets an open request call back and forth to its end", %{tmp_dir: dir} do
      pool = start_pool(workers: 1)
      double = &ErlangPython.eval!("2 * x", %{x: &1}, pool: pool)
      # In a process that the callback starts.
      beside = fn x -> Task.await(Task.async(fn -> double.(x) end)) end
      bindings = Map.merge(gate(dir), %{double: double, beside: beside})
      code = @gated <> "double(1), beside(2)"
      running = Task.async(fn -> ErlangPython.run(code, bindings, pool: pool) end)
      await_file(bindings.started)
      stopping = Task.async(fn -> Pool.stop(pool) end)

      eventually(fn ->
        assert {:error, %Error{kind: :no_pool}} =
                 ErlangPython.eval("1", %{}, pool: pool, timeout: 20)
      end)

      File.touch!(bindings.go)
      assert Task.await(running) == {:ok, {2, 4}}
      assert Task.await(stopping) == :ok
    end

    test "goes on if its caller is killed", %{tmp_dir: dir} do
      pool = unique_name()
      python = ErlangPython.TestPython.executable()
      {:ok, pid} = Pool.start_link(name: pool, workers: 1, python: python, stdout: :ignore)
      ref = Process.monitor(pid)
      {running, gate} = occupy(pool, dir)
      stopping = spawn(fn -> Pool.stop(pool) end)

      eventually(fn ->
        assert {:error, %Error{kind: :no_pool}} =
                 ErlangPython.eval("1", %{}, pool: pool, timeout: 20)
      end)

      Process.exit(stopping, :kill)
      File.touch!(gate.go)
      assert Task.await(running) == :ok
      assert_receive {:DOWN, ^ref, :process, ^pid, :normal}
    end

    test "may be asked by several at once: it has ended when each goes on" do
      for _round <- 1..5 do
        pool = unique_name()
        options = [name: pool, workers: 1, python: ErlangPython.TestPython.executable()]
        {:ok, pid} = Pool.start_link(options ++ [lazy: true])

        stops =
          for _ <- 1..8 do
            Task.async(fn ->
              try do
                {Pool.stop(pool), Process.alive?(pid)}
              rescue
                # Nothing was left to be stopped.
                error in Error -> {error.kind, Process.alive?(pid)}
              end
            end)
          end

        results = stops |> Task.await_many() |> Enum.uniq() |> Enum.sort()
        assert results in [[ok: false], [no_pool: false, ok: false]]
      end
    end

    test "of a pool that ends meanwhile, others are told so" do
      pool = start_pool(workers: 1)
      %{id: _} = old = handle(pool)
      assert stop_supervised(pool) == :ok
      alias ErlangPython.Pool.Manager
      assert {:error, %Error{kind: :no_pool}} = Manager.restart(old)
      assert {:error, %Error{kind: :no_pool}} = Manager.scale(old, 2)
      assert {:error, %Error{kind: :no_pool}} = Manager.slots(old)
      assert Manager.await_empty(old, :infinity) == :ended
    end

    test "ends what is open when its own patience ends", %{tmp_dir: dir} do
      pool = start_pool(workers: 1, grace: 100)
      {running, _gate} = occupy(pool, dir)
      assert stop_supervised(pool) == :ok
      assert {:error, %Error{kind: kind, executed: :maybe}} = Task.await(running)
      assert kind in [:no_pool, :worker_exit, :cancelled]
    end
  end
end
