defmodule ErlangPython.Pool.LimitsTest do
  # How many requests a pool takes, how large they may be, and when a limit costs a worker.
  use ErlangPython.PoolCase, async: true

  import ExUnit.CaptureLog

  @moduletag :tmp_dir

  describe "options" do
    test ":max_queue and the reason why a request was not taken", %{tmp_dir: dir} do
      pool = start_pool(workers: 1, max_queue: 1, window: 1)
      {running, gate} = occupy(pool, dir)
      queued = Task.async(fn -> ErlangPython.eval("'queued'", %{}, pool: pool) end)
      eventually(fn -> assert %{queued: 1} = Pool.stats(pool) end)

      assert {:error, %Error{kind: :overloaded, executed: :no} = error} =
               ErlangPython.eval("1", %{}, pool: pool)

      assert error.details == %{current: 1, max: 1}
      assert error.message =~ "has 1 request in its queue, its limit is 1"

      File.touch!(gate.go)
      assert Task.await(running) == :ok
      assert Task.await(queued) == {:ok, "queued"}
      await_whole(pool, 1)
    end

    test "of what only one worker can run, :max_concurrent is the one", %{tmp_dir: dir} do
      pool = start_pool(workers: 1, max_queue: 0, max_concurrent: 3)
      {:ok, context} = ErlangPython.Context.open(pool: pool, mode: :shared)
      {running, gate} = occupy(pool, dir)

      waits =
        for n <- 1..2, do: Task.async(fn -> ErlangPython.eval("#{n}", %{}, context: context) end)

      eventually(fn -> assert %{in_flight: 3} = Pool.stats(pool) end)

      assert {:error, %Error{kind: :overloaded, details: %{current: 3, max: 3}}} =
               ErlangPython.eval("3", %{}, context: context)

      File.touch!(gate.go)
      assert Task.await(running) == :ok
      assert Task.await_many(waits) == [ok: 1, ok: 2]
      await_whole(pool, 1)
    end

    test ":max_concurrent counts those that run and those that wait", %{tmp_dir: dir} do
      pool = start_pool(workers: 1, max_concurrent: 1)
      {running, gate} = occupy(pool, dir)

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

    for {max, options} <- [{1, []}, {1, [window: 8]}, {5, []}] do
      test ":max_requests is what a worker serves, with #{inspect([max_requests: max] ++ options)}" do
        max = unquote(max)
        pool = start_pool([workers: 1, max_requests: max] ++ unquote(options))
        pids = for _nth <- 1..(4 * max), do: ErlangPython.call!(:os, :getpid, [], pool: pool)
        assert pids |> Enum.frequencies() |> Map.values() == List.duplicate(max, 4)
        await_whole(pool, 1)
      end
    end

    for {callers, options} <- [
          {2, [workers: 1, max_requests: 2]},
          {40, [workers: 2, max_requests: 7, window: 16]}
        ] do
      test ":max_requests holds for #{callers} callers at once, with #{inspect(options)}" do
        pool = start_pool(unquote(options))

        pids =
          1..unquote(callers)
          |> Task.async_stream(
            fn _caller -> for _ <- 1..3, do: ErlangPython.call!(:os, :getpid, [], pool: pool) end,
            max_concurrency: unquote(callers),
            timeout: :infinity
          )
          |> Enum.flat_map(fn {:ok, pids} -> pids end)

        assert length(pids) == 3 * unquote(callers)

        assert pids |> Enum.frequencies() |> Map.values() |> Enum.max() ==
                 unquote(options)[:max_requests]

        await_whole(pool, unquote(options)[:workers])
      end
    end

    test ":max_requests counts what runs beside the main thread" do
      name = "pool_limits_fan_out"
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

      log =
        capture_log(fn ->
          :ok = ErlangPython.exec("hog = b'x' * 300_000_000", %{}, pool: pool)
          eventually(fn -> assert ErlangPython.call!(:os, :getpid, [], pool: pool) != pid end)
        end)

      refute os_process?(pid)
      assert [_once] = Regex.scan(~r/\[info\] Python worker 1 of the pool .* has 3\d\d MB/, log)
      assert log =~ ":max_memory is 150 MB: it is replaced"
    end

    test ":max_memory below what a worker has from the start is told of" do
      log =
        capture_log(fn ->
          pool = start_pool(workers: 1, max_memory: 1_000_000)
          [%{os_pid: before}] = Pool.workers(pool)
          eventually(fn -> refute os_process?(before) end)
        end)

      assert log =~
               ~r/\[warning\] Python worker 1 .* before it has served anything: raise the limit/
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

    test ":heartbeat ends one that is about to be replaced, too" do
      pool = start_pool(workers: 1, heartbeat: 200)
      test = self()

      code = """
      import re
      erlang.send(test, "started")
      re.match(r'(a+)+$', 'a' * 64 + 'b')
      """

      call =
        Task.async(fn ->
          ErlangPython.run(code, %{test: test}, pool: pool, timeout: :infinity)
        end)

      assert_receive "started"
      assert Pool.restart(pool) == :ok
      assert {:error, %Error{kind: :worker_exit}} = Task.await(call)
    end
  end
end
