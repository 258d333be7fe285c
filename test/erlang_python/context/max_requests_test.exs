defmodule ErlangPython.Context.MaxRequestsTest do
  # When a pool with `:max_requests` replaces workers that have contexts.
  use ErlangPython.PoolCase, async: true

  import ErlangPython.TestContexts

  alias ErlangPython.Context
  alias ErlangPython.Pool.{Directory, Slots}

  describe "with :max_requests" do
    defp calls(context, count),
      do: for(_ <- 1..count, do: ErlangPython.call!(:os, :getpid, [], context: context))

    test "requests of contexts count, and the worker goes when its context has closed" do
      pool = start_pool(workers: 1, max_requests: 10)

      for mode <- [:dedicated, :shared] do
        context = open!(pool, mode)
        exec!("kept = 1", context)
        assert [pid] = context |> calls(30) |> Enum.uniq()
        assert eval("kept", context) == {:ok, 1}
        Context.close(context)
        eventually(fn -> refute os_process?(pid) end)
        await_whole(pool, 1)
      end
    end

    test "one context after another: the worker is replaced now and then" do
      pool = start_pool(workers: 1, max_requests: 10)

      pids =
        for _ <- 1..10 do
          ErlangPython.with_context(fn context -> hd(calls(context, 5)) end, pool: pool)
        end

      assert length(Enum.uniq(pids)) in 3..6
      await_whole(pool, 1)
    end

    test "plain calls don't take a worker from under its contexts" do
      pool = start_pool(workers: 1, max_requests: 10)
      {first, second} = {open!(pool, :shared), open!(pool, :shared)}
      exec!("kept = 1", first)
      [pid | _] = pids = for _ <- 1..30, do: ErlangPython.call!(:os, :getpid, [], pool: pool)
      assert Enum.uniq(pids) == [pid]
      Context.close(second)
      assert eval("kept", first) == {:ok, 1}
      Context.close(first)
      eventually(fn -> refute os_process?(pid) end)
      await_whole(pool, 1)
    end

    test "new contexts go elsewhere as long as there is a worker with requests left" do
      pool = start_pool(workers: 2, max_requests: 10)
      old = open!(pool, :shared)
      [pid | _] = calls(old, 10)
      new = for _ <- 1..5, do: open!(pool, :shared)
      assert new |> Enum.flat_map(&calls(&1, 1)) |> Enum.member?(pid) == false

      # When all have had their number, one of them gets the new ones, so that the other comes to its end.
      for context <- new, do: calls(context, 2)
      one = for _ <- 1..3, do: open!(pool, :shared)
      assert [_one_worker] = one |> Enum.flat_map(&calls(&1, 1)) |> Enum.uniq()
      Enum.each([old | new ++ one], &Context.close/1)
      eventually(fn -> refute os_process?(pid) end)
      await_whole(pool, 2)
    end

    test "one that comes just when its worker has had its number keeps that open to plain calls" do
      pool = start_pool(workers: 1, max_requests: 1)
      context = open!(pool, :shared)
      [%{os_pid: pid}] = Pool.workers(pool)

      # As its reader does, which has seen no context.
      handle = handle(pool)
      Slots.add_served(handle, 1, 1)
      Slots.limit_window(handle, 1, 0)
      {generation, _worker, _writer} = Directory.worker(handle, 1)
      Directory.notify(handle, :manager, {:retire, 1, generation, :max_requests})

      assert ErlangPython.call!(:os, :getpid, [], pool: pool) == pid
      assert calls(context, 1) == [pid]
      Context.close(context)
      eventually(fn -> refute os_process?(pid) end)
      await_whole(pool, 1)
    end

    test "streams that are opened in a context count too, each as one" do
      pool = start_pool(workers: 1, max_requests: 3)
      context = open!(pool)
      [pid] = calls(context, 1)
      stream = ErlangPython.stream(:builtins, :range, [20_000], context: context)
      assert Enum.count(stream) == 20_000
      assert [%{requests: 2}] = Pool.workers(pool)
      assert Enum.count(stream) == 20_000
      assert calls(context, 1) == [pid]
      Context.close(context)
      eventually(fn -> refute os_process?(pid) end)
      await_whole(pool, 1)
    end
  end
end
