defmodule ErlangPython.PoolTest do
  use ErlangPython.PoolCase, async: true

  @gated gated()

  @moduletag :tmp_dir

  describe "start_link/1" do
    test "returns when each worker is ready" do
      pool = start_pool(workers: 3)
      assert %{workers: 3, idle: 3, starting: 0} = Pool.stats(pool)
    end

    test "fails with what Python printed if a preload raises" do
      assert {:error, {%Error{kind: :no_workers, executed: :no} = error, _child}} =
               start_supervised(
                 {Pool,
                  name: unique_name(),
                  workers: 1,
                  python: ErlangPython.TestPython.executable(),
                  stdout: :ignore,
                  preload: [:no_such_module]}
               )

      assert error.message =~ "ModuleNotFoundError: No module named 'no_such_module'"
      assert error.cause.type == "ModuleNotFoundError"
    end

    test "fails if the interpreter is not there" do
      assert {:error, {%Error{kind: :environment} = error, _child}} =
               start_supervised({Pool, name: unique_name(), python: "/no/such/python"})

      assert error.message =~ "/no/such/python"
    end

    test "fails if the interpreter is something else", %{tmp_dir: dir} do
      path = Path.join(dir, "python")
      File.write!(path, "#!/bin/sh\necho this is no python >&2\nexit 3\n")
      File.chmod!(path, 0o755)

      assert {:error, {%Error{kind: kind} = error, _child}} =
               start_supervised({Pool, name: unique_name(), python: path, stdout: :ignore})

      assert kind in [:environment, :no_workers]
      assert Exception.message(error) =~ "this is no python"
    end

    test "fails if its folder is not there" do
      options = [
        name: unique_name(),
        python: ErlangPython.TestPython.executable(),
        cd: "/no/such"
      ]

      assert {:error, {%Error{kind: :environment} = error, _}} = start_supervised({Pool, options})
      assert error.message =~ "the folder in :cd is missing: /no/such"
    end

    test "leaves no process behind after a failure" do
      before = DynamicSupervisor.count_children(ErlangPython.Pools)
      name = unique_name()
      assert {:error, _reason} = start_supervised({Pool, name: name, python: "/no/such/python"})
      assert ErlangPython.Pool.Supervisor.whereis(name) == nil
      assert DynamicSupervisor.count_children(ErlangPython.Pools) == before
    end

    test "a name can be used once" do
      pool = start_pool(workers: 1)
      assert {:error, {:already_started, _pid}} = Pool.start_link(name: pool)
    end
  end

  describe "a pool that can't start" do
    test "tells each caller why, at once" do
      pool = start_pool(workers: 1, lazy: true, preload: [:no_such_module])

      assert {:error, %Error{kind: :no_workers, executed: :no} = error} =
               ErlangPython.eval("1", %{}, pool: pool, timeout: :infinity)

      assert error.message =~ "no_such_module"
      assert {:error, %Error{kind: :no_workers}} = ErlangPython.eval("1", %{}, pool: pool)
    end

    test "serves again when the cause is gone", %{tmp_dir: dir} do
      pool = start_pool(workers: 1, lazy: true, paths: [dir], preload: [:comes_later])
      assert {:error, %Error{kind: :no_workers}} = ErlangPython.eval("1", %{}, pool: pool)
      File.write!(Path.join(dir, "comes_later.py"), "x = 5")

      eventually(fn ->
        assert {:ok, 5} = ErlangPython.eval("__import__('comes_later').x", %{}, pool: pool)
      end)
    end
  end

  describe "options" do
    test ":preload, :paths, :env and :cd reach Python", %{tmp_dir: dir} do
      File.write!(Path.join(dir, "mine.py"), "value = 7")

      pool =
        start_pool(
          workers: 1,
          paths: [dir],
          cd: dir,
          env: [{"A_VARIABLE", "a value"}],
          preload: [:mine, {:code, "def twice(x): return 2 * x"}]
        )

      assert {:ok, true} =
               ErlangPython.eval("'mine' in __import__('sys').modules", %{}, pool: pool)

      assert {:ok, 4} = ErlangPython.call(:__main__, :twice, [2], pool: pool)

      assert {:ok, "a value"} =
               ErlangPython.eval("__import__('os').environ['A_VARIABLE']", %{}, pool: pool)

      assert {:ok, cwd} = ErlangPython.call(:os, :getcwd, [], pool: pool)
      assert File.stat!(cwd).inode == File.stat!(dir).inode
    end

    test "the worker's own settings are not in Python's environment" do
      pool = start_pool(workers: 1)

      assert {:ok, []} =
               ErlangPython.eval(
                 "[k for k in __import__('os').environ if k.startswith('ERLANG_PYTHON')]",
                 %{},
                 pool: pool
               )
    end

    test ":endpoint tcp serves as ipc does" do
      pool = start_pool(workers: 1, endpoint: :tcp)
      assert {:ok, 4.0} = ErlangPython.call(:math, :sqrt, [16], pool: pool)
    end

    test ":channel pyzmq serves as direct does" do
      big = :binary.copy(<<0, 255>>, 500_000)

      for channel <- [:direct, :pyzmq] do
        pool = start_pool(workers: 1, channel: channel)
        assert {:ok, 4.0} = ErlangPython.call(:math, :sqrt, [16], pool: pool)
        assert {:ok, ^big} = ErlangPython.call(:builtins, :bytes, [big], pool: pool)
        assert is_binary(ErlangPython.info(pool: pool).packages["pyzmq"]) == (channel == :pyzmq)
      end
    end

    test "two pools keep apart", %{tmp_dir: dir} do
      one = start_pool(workers: 1, preload: [{:code, "who = 1"}])
      two = start_pool(workers: 1, preload: [{:code, "who = 2"}], cd: dir)
      assert ErlangPython.eval("who", %{}, pool: one) == {:ok, 1}
      assert ErlangPython.eval("who", %{}, pool: two) == {:ok, 2}
    end

    test ":max_queue and the reason why a request was not taken", %{tmp_dir: dir} do
      pool = start_pool(workers: 1, max_queue: 1, window: 1)
      gate = gate(dir)
      running = Task.async(fn -> ErlangPython.exec(@gated, gate, pool: pool) end)
      await_file(gate.started)
      queued = Task.async(fn -> ErlangPython.eval("'queued'", %{}, pool: pool) end)
      eventually(fn -> assert %{queued: 1} = Pool.stats(pool) end)

      assert {:error, %Error{kind: :overloaded, executed: :no} = error} =
               ErlangPython.eval("1", %{}, pool: pool)

      assert error.details == %{current: 1, max: 1}

      File.touch!(gate.go)
      assert Task.await(running) == :ok
      assert Task.await(queued) == {:ok, "queued"}
      await_whole(pool, 1)
    end

    test ":max_concurrent counts those that run and those that wait", %{tmp_dir: dir} do
      pool = start_pool(workers: 1, max_concurrent: 1)
      gate = gate(dir)
      running = Task.async(fn -> ErlangPython.exec(@gated, gate, pool: pool) end)
      await_file(gate.started)

      assert {:error, %Error{kind: :overloaded, details: %{max: 1}}} =
               ErlangPython.eval("1", %{}, pool: pool)

      File.touch!(gate.go)
      assert Task.await(running) == :ok
      assert ErlangPython.eval("1", %{}, pool: pool) == {:ok, 1}
    end

    test ":max_message_size holds in both directions" do
      pool = start_pool(workers: 1, max_message_size: 100_000)
      big = String.duplicate("x", 200_000)

      assert {:error,
              %Error{kind: :too_large, executed: :no, details: %{limit: 100_000, size: size}}} =
               ErlangPython.call(:builtins, :len, [big], pool: pool)

      assert size > 200_000

      assert {:error, %Error{kind: :too_large, executed: :yes}} =
               ErlangPython.eval("'x' * 200_000", %{}, pool: pool)

      assert {:ok, 90_000} =
               ErlangPython.call(:builtins, :len, [binary_part(big, 0, 90_000)], pool: pool)
    end

    test ":max_requests replaces a worker between two requests" do
      pool = start_pool(workers: 1, max_requests: 5)
      pids = for _nth <- 1..30, do: ErlangPython.call!(:os, :getpid, [], pool: pool)
      assert length(Enum.uniq(pids)) > 1
      await_whole(pool, 1)
    end

    test ":max_requests counts what runs beside the main thread" do
      name = "pool_test_fan_out"
      pool = start_pool(workers: 1, max_requests: 10)
      on_exit(fn -> ErlangPython.unregister(name) end)

      ErlangPython.register(name, fn ->
        fn -> for n <- 1..10, do: ErlangPython.eval!("n", %{n: n}, pool: pool) end
        |> Task.async()
        |> Task.await(:infinity)
      end)

      [%{os_pid: before}] = Pool.workers(pool)
      assert {:ok, [1 | _]} = ErlangPython.eval("erlang.call('#{name}')", %{}, pool: pool)
      eventually(fn -> refute os_process?(before) end)
      await_whole(pool, 1)
    end

    test ":max_memory replaces a worker that has grown" do
      pool = start_pool(workers: 1, max_memory: 150_000_000)
      pid = ErlangPython.call!(:os, :getpid, [], pool: pool)
      :ok = ErlangPython.exec("hog = b'x' * 300_000_000", %{}, pool: pool)
      eventually(fn -> assert ErlangPython.call!(:os, :getpid, [], pool: pool) != pid end)
      refute os_process?(pid)
    end

    test ":heartbeat ends a worker that can't answer, whatever the caller's patience" do
      pool = start_pool(workers: 1, heartbeat: 200)

      assert {:error, %Error{kind: :worker_exit} = error} =
               ErlangPython.run("import re\nre.match(r'(a+)+$', 'a' * 64 + 'b')", %{},
                 pool: pool,
                 timeout: :infinity
               )

      assert error.message =~ "did not answer a heartbeat within 200 ms"
      await_whole(pool, 1)
    end
  end

  describe "requests behind one that" do
    setup %{tmp_dir: dir} do
      pool = start_pool(workers: 1, window: 16)
      gate = gate(dir)
      %{pool: pool, gate: gate}
    end

    # Eight requests in the window of the one worker, behind one that waits at its gate.
    defp behind(pool, gate, code) do
      first = Task.async(fn -> ErlangPython.run(@gated <> code, gate, pool: pool) end)
      await_file(gate.started)
      rest = for n <- 1..8, do: Task.async(fn -> ErlangPython.eval("n", %{n: n}, pool: pool) end)
      eventually(fn -> assert %{in_flight: 9} = Pool.stats(pool) end)
      {first, rest}
    end

    test "kills its worker are run by the next, unseen by their callers", %{
      pool: pool,
      gate: gate
    } do
      {first, rest} = behind(pool, gate, "import os; os._exit(1)")
      File.touch!(gate.go)
      assert {:error, %Error{kind: :worker_exit, executed: :maybe}} = Task.await(first)
      assert Task.await_many(rest) == Enum.map(1..8, &{:ok, &1})
      await_whole(pool, 1)
    end

    test "ends in order are answered in order", %{pool: pool, gate: gate} do
      {first, rest} = behind(pool, gate, "0")
      File.touch!(gate.go)
      assert Task.await(first) == {:ok, 0}
      assert Task.await_many(rest) == Enum.map(1..8, &{:ok, &1})
    end

    test "does not end time out without having run", %{pool: pool, gate: gate} do
      first = Task.async(fn -> ErlangPython.run(@gated, gate, pool: pool) end)
      await_file(gate.started)

      assert {:error, %Error{kind: :timeout}} =
               ErlangPython.exec("import builtins; builtins.ran = True", %{},
                 pool: pool,
                 timeout: 50
               )

      # Until the worker has said that it won't run it.
      eventually(fn -> assert %{in_flight: 1} = Pool.stats(pool) end)
      File.touch!(gate.go)
      assert {:ok, nil} = Task.await(first)

      assert ErlangPython.eval("hasattr(__import__('builtins'), 'ran')", %{}, pool: pool) ==
               {:ok, false}
    end
  end

  test "a request behind a long one goes to a worker that becomes free", %{tmp_dir: dir} do
    pool = start_pool(workers: 2, window: 16)
    gates = for n <- 1..2, do: gate(Path.join(dir, "#{n}") |> tap(&File.mkdir_p!/1))

    long =
      for gate <- gates,
          do: Task.async(fn -> ErlangPython.run(@gated <> "0", gate, pool: pool) end)

    Enum.each(gates, &await_file(&1.started))
    short = for n <- 1..10, do: Task.async(fn -> ErlangPython.eval("n", %{n: n}, pool: pool) end)
    eventually(fn -> assert %{in_flight: 12} = Pool.stats(pool) end)

    # One of the two workers ends; it takes over what waits behind the other.
    File.touch!(hd(gates).go)
    assert Task.await_many(short) == Enum.map(1..10, &{:ok, &1})
    File.touch!(List.last(gates).go)
    assert Task.await_many(long) == [{:ok, 0}, {:ok, 0}]
  end

  test "requests wait for a worker in the order in which they came", %{tmp_dir: dir} do
    pool = start_pool(workers: 1, window: 1)
    gate = gate(dir)
    first = Task.async(fn -> ErlangPython.run(@gated <> "log = []", gate, pool: pool) end)
    await_file(gate.started)

    rest =
      for n <- 1..20 do
        task = Task.async(fn -> ErlangPython.exec("log.append(n)", %{n: n}, pool: pool) end)
        eventually(fn -> assert %{queued: ^n} = Pool.stats(pool) end)
        task
      end

    File.touch!(gate.go)
    Task.await_many([first | rest])
    assert ErlangPython.eval("log", %{}, pool: pool) == {:ok, Enum.to_list(1..20)}
  end

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
    gate = gate(dir)
    running = Task.async(fn -> ErlangPython.exec(@gated, gate, pool: pool) end)
    await_file(gate.started)
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

    test "ends what is open when its own patience ends", %{tmp_dir: dir} do
      pool = start_pool(workers: 1, grace: 100)
      gate = gate(dir)
      running = Task.async(fn -> ErlangPython.exec(@gated, gate, pool: pool) end)
      await_file(gate.started)
      assert stop_supervised(pool) == :ok
      assert {:error, %Error{kind: kind, executed: :maybe}} = Task.await(running)
      assert kind in [:no_pool, :worker_exit, :cancelled]
    end
  end

  test "an unknown pool" do
    assert {:error, %Error{kind: :no_pool, executed: :no} = error} =
             ErlangPython.eval("1", %{}, pool: :nowhere)

    assert error.message =~ "no running pool :nowhere"
    assert_raise Error, ~r/:nowhere/, fn -> Pool.stats(:nowhere) end
  end

  describe "a crash of a part of the pool itself:" do
    for part <- [:manager] do
      test "the #{part}" do
        pool = start_pool(workers: 1)
        {:ok, handle} = ErlangPython.Pool.Handle.fetch(pool)
        pid = ErlangPython.Pool.Directory.whereis(handle, unquote(part))
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
      gate = gate(dir)
      running = Task.async(fn -> ErlangPython.exec(@gated, gate, pool: pool) end)
      await_file(gate.started)
      {:ok, handle} = ErlangPython.Pool.Handle.fetch(pool)
      {_generation, worker, _writer} = ErlangPython.Pool.Directory.worker(handle, 1)
      Process.exit(worker, :kill)
      assert {:error, %Error{kind: :worker_exit, executed: :maybe}} = Task.await(running)
      eventually(fn -> refute os_process?(os_pid) end)
      await_whole(pool, 1)
    end

    test "its tables: open requests end, and the pool comes back", %{tmp_dir: dir} do
      pool = start_pool(workers: 1)
      gate = gate(dir)
      running = Task.async(fn -> ErlangPython.exec(@gated, gate, pool: pool) end)
      await_file(gate.started)
      {:ok, handle} = ErlangPython.Pool.Handle.fetch(pool)
      Process.exit(ErlangPython.Pool.Directory.whereis(handle, :callers), :kill)
      assert {:error, %Error{kind: :no_pool, executed: :maybe}} = Task.await(running)
      eventually(fn -> assert {:ok, 1} = ErlangPython.eval("1", %{}, pool: pool) end)
    end
  end
end
