defmodule PyWorkersTest do
  # What `:py` does with all workers of its pool.
  use ErlangPython.PoolCase, async: false

  defp workers, do: :py.num_executors()

  test "num_executors, execution_mode, subinterp_supported" do
    assert workers() == length(Pool.workers(:default))
    mode = if ErlangPython.info().free_threaded, do: :free_threaded, else: :multi_executor
    assert :py.execution_mode() == mode
    assert :py.subinterp_supported() == true
  end

  test "parallel/1" do
    assert :py.parallel([]) == {:ok, []}
    Process.flag(:trap_exit, true)
    calls = for n <- 1..20, do: {:math, ~c"sqrt", [n * n]}
    assert :py.parallel(calls) == {:ok, for(n <- 1..20, do: {:ok, n * 1.0})}

    assert {:ok,
            [
              {:error, {:ValueError, _}},
              {:ok, %{"a" => 1}},
              {:ok, stream},
              {:error, :invalid_args}
            ]} =
             :py.parallel([
               {:math, :sqrt, [-1]},
               {:builtins, :dict, [], %{a: 1}},
               {:builtins, :iter, [[7]]},
               {1, 2, []}
             ])

    assert :py.stream_next(stream) == {:ok, 7}
    assert :py.stream_close(stream) == :ok
    assert :py.parallel([{:math, :sqrt}]) == {:error, :invalid_args}
    assert :py.parallel(:math) == {:error, :invalid_args}
    refute_received _any
  end

  test "py_pool: get_stats/0 and broadcast/1" do
    await_whole(:default, workers())
    count = workers()

    assert :py_pool.get_stats() ==
             %{num_workers: count, available_workers: count, checked_out: 0, pending_requests: 0}

    assert :py_pool.broadcast({:eval, "n + 1", %{n: 1}}) == List.duplicate({:ok, 2}, count)
    assert :py_pool.broadcast({:exec, ~c"import json"}) == List.duplicate({:ok, :none}, count)
    assert :py_pool.broadcast({:call, :math, :sqrt, [4]}) == List.duplicate({:ok, 2.0}, count)
    assert [{:error, {:ValueError, _}} | _] = :py_pool.broadcast({:call, :math, :sqrt, [-1]})
    assert [{:ok, %{"a" => 1}} | _] = :py_pool.broadcast({:call, :builtins, :dict, [], [a: 1]})
    streams = for {:ok, stream} <- :py_pool.broadcast({:eval, "iter([5])"}), do: stream
    assert Enum.map(streams, &:py.stream_next/1) == List.duplicate({:ok, 5}, count)
    Enum.each(streams, &:py.stream_close/1)
    assert :py_pool.broadcast({:eval, 1}) == {:error, :invalid_args}
    assert :py_pool.broadcast(:gc) == {:error, :invalid_args}
  end

  test "interrupt/1" do
    # Another test may have ended one.
    await_whole(:default, workers())
    assert :py.interrupt(1) == :ok
    assert :py.interrupt(0) == {:error, :invalid_args}
    assert :py.interrupt(1_000) == {:error, :no_workers_available}
    test = self()
    ErlangPython.register(:workers_test_in, fn -> tell(test, :in) end)

    refs =
      for _ <- 1..workers(),
          do:
            :py.call_async(:builtins, :exec, [
              "import erlang\nerlang.workers_test_in()\nwhile True: len('')"
            ])

    for _ <- refs, do: assert_receive(:in, 30_000)
    for worker <- 1..workers(), do: assert(:py.interrupt(worker) == :ok)
    for ref <- refs, do: assert(:py.await(ref) == {:error, :cancelled})
  end

  test "memory_stats, gc and tracemalloc" do
    assert {:ok, stats} = :py.memory_stats()
    assert Enum.sort(Map.keys(stats)) == [:gc_count, :gc_stats, :gc_threshold]

    assert [%{"collections" => n, "collected" => _, "uncollectable" => _}, _, _ | _] =
             stats.gc_stats

    assert is_integer(n)
    assert {_, _, _} = stats.gc_count
    assert :py.eval("__import__('gc').get_threshold()") == {:ok, stats.gc_threshold}

    cycles = "import gc\ngc.disable()\nfor _ in range(100):\n    x = []\n    x.append(x)\ndel x"
    :py_pool.broadcast({:exec, cycles})
    assert {:ok, collected} = :py.gc()
    assert collected >= 99 * workers()
    assert {:ok, _} = :py.gc(0)
    :py_pool.broadcast({:exec, "gc.enable()"})
    assert :py.gc(3) == {:error, :invalid_args}

    assert :py.tracemalloc_start() == :ok
    assert :py.tracemalloc_start(5) == :ok
    assert :py.eval("__import__('tracemalloc').get_traceback_limit()") == {:ok, 5}
    :py_pool.broadcast({:exec, "kept = bytes(1_000_000)"})
    assert {:ok, %{traced_memory_current: current, traced_memory_peak: peak}} = :py.memory_stats()
    assert current >= workers() * 1_000_000 and peak >= current
    # A worker that starts now traces too.
    assert Pool.restart(:default) == :ok
    assert {:ok, %{traced_memory_current: _}} = :py.memory_stats()
    assert :py.tracemalloc_stop() == :ok
    assert {:ok, stats} = :py.memory_stats()
    refute Map.has_key?(stats, :traced_memory_current)
    assert Pool.restart(:default) == :ok
    assert :py.eval("__import__('tracemalloc').is_tracing()") == {:ok, false}
    assert :py.tracemalloc_start(0) == {:error, :invalid_args}
  end
end
