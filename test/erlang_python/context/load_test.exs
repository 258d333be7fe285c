defmodule ErlangPython.Context.LoadTest do
  # Thousands of contexts in one pool.
  use ErlangPython.PoolCase, async: true

  import ErlangPython.TestContexts

  alias ErlangPython.Context
  alias ErlangPython.Pool.{Directory, Handle}

  test "ten thousand shared contexts in two workers" do
    pool = start_pool(workers: 2)
    contexts = for n <- 1..10_000, do: {n, open!(pool, :shared)}
    for {n, context} <- contexts, do: exec!("n = #{n}", context)
    for {n, context} <- contexts, rem(n, 100) == 0, do: assert(eval("n", context) == {:ok, n})
    for {_n, context} <- contexts, do: Context.close(context)
    await_whole(pool, 2)
    # Namespaces, without that of the process, which is not looked at.
    none_left = {:ok, %{1 => {:ok, 0}, 2 => {:ok, 0}}}

    code =
      "sum(type(o) is dict and '__loader__' in o and 'n' in o for o in __import__('gc').get_objects())"

    eventually(fn -> assert Pool.broadcast(pool, {:eval, code}) == none_left end)
  end

  test "the death of a caller is not looked up in all contexts of others" do
    pool = start_pool(workers: 2)
    {:ok, handle} = Handle.fetch(pool)
    callers = Directory.whereis(handle, :callers)

    # What the process that watches callers has to do for 50 of them.
    reductions = fn ->
      :sys.get_state(callers)
      {:reductions, before} = Process.info(callers, :reductions)
      tasks = for _ <- 1..50, do: Task.async(fn -> ErlangPython.eval!("1", %{}, pool: pool) end)
      Task.await_many(tasks)
      eventually(fn -> refute Enum.any?(tasks, &:ets.member(handle.callers, &1.pid)) end)
      :sys.get_state(callers)
      {:reductions, now} = Process.info(callers, :reductions)
      now - before
    end

    without = reductions.()
    contexts = for _ <- 1..3_000, do: open!(pool, :shared)
    assert reductions.() < 3 * without
    Enum.each(contexts, &Context.close/1)
    eventually(fn -> assert :ets.info(handle.contexts, :size) == 0 end)
    await_whole(pool, 2)
  end
end
