defmodule ErlangPython.Callbacks.LoadTest do
  # Very many callbacks at once with checked answers, and what they leave: nothing.
  use ErlangPython.CallbackCase, async: false

  @threads 16
  @callbacks 100_000

  @coroutines 50

  test "#{@callbacks} callbacks from #{@threads} threads and #{@coroutines} coroutines at once have their own answers" do
    pool = start_pool(workers: 1)
    register(:square, fn who, n -> [who, n * n] end)

    # Half of them each. The threads' request starts when the coroutines' has left the main thread.
    threads = """
    from concurrent.futures import ThreadPoolExecutor
    def work(thread):
        for n in range(count):
            assert erlang.square(thread, n) == [thread, n * n]
        return count
    globals().update(count=count)
    begun.set()
    with ThreadPoolExecutor(threads) as pool:
        out = sum(pool.map(work, range(threads)))
    out
    """

    coroutines = """
    import asyncio
    await erlang.acall(ready)
    await asyncio.get_running_loop().run_in_executor(None, begun.wait)
    async def work(coroutine):
        for n in range(count):
            assert await erlang.acall("square", -coroutine, n) == [-coroutine, n * n]
        return count
    sum(await asyncio.gather(*(work(c) for c in range(coroutines))))
    """

    half = div(@callbacks, 2)
    test = self()
    ErlangPython.exec!("import threading\nbegun = threading.Event()", %{}, pool: pool)

    run = fn code, bindings ->
      Task.async(fn -> ErlangPython.run(code, bindings, pool: pool, timeout: 120_000) end)
    end

    bindings = %{
      ready: fn -> send(test, :ready) end,
      coroutines: @coroutines,
      count: div(half, @coroutines)
    }

    on_loop = run.(coroutines, bindings)
    assert_receive :ready
    in_threads = run.(threads, %{threads: @threads, count: div(half, @threads)})
    assert Task.await_many([on_loop, in_threads], :infinity) == [{:ok, half}, {:ok, half}]
    await_whole(pool, 1)
    await_nothing_left(pool)
  end
end
