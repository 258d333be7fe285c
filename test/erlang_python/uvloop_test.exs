defmodule ErlangPython.UvloopTest do
  # The event loop of an environment that has uvloop, the real one (requirements/uvloop.lock).
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.Pool.{Handle, Slots}

  @python Path.expand("../../.cache/uvloop/bin/python", __DIR__)

  setup do
    pool = start_pool(workers: 1, python: @python, grace: 20_000)
    name = "uvloop_test_#{System.unique_integer([:positive])}"
    on_exit(fn -> ErlangPython.unregister(name) end)
    {:ok, pool: pool, name: name}
  end

  defp run(pool, code, bindings \\ %{}, opts \\ []),
    do: ErlangPython.run("import asyncio\n" <> code, bindings, [pool: pool] ++ opts)

  @kind "type(asyncio.get_running_loop()).__module__"

  test "runs coroutines, a thousand at once", %{pool: pool} do
    assert run(pool, "await asyncio.sleep(0)\n#{@kind}") == {:ok, "uvloop"}
    code = "sum(await asyncio.gather(*(asyncio.sleep(0.01, n) for n in range(1000))))"
    assert run(pool, code) == {:ok, 499_500}
  end

  test "carries callbacks, on the worker's loop and on others", %{pool: pool, name: name} do
    ErlangPython.register(name, fn n -> ErlangPython.eval!("n * n", %{n: n}, pool: pool) end)
    expected = for n <- 0..99, do: n * n

    gather = "await asyncio.gather(*(erlang.acall(name, n) for n in range(100)))"
    assert run(pool, gather, %{name: name}) == {:ok, expected}

    own = """
    import uvloop
    async def main(name):
        return [#{@kind}, *#{gather}]
    loop = uvloop.new_event_loop()
    out = loop.run_until_complete(main(name))
    loop.close()
    out
    """

    assert run(pool, own, %{name: name}) == {:ok, ["uvloop" | expected]}
  end

  test "keeps context variables", %{pool: pool, name: name} do
    ErlangPython.register(name, fn n -> n end)

    code = """
    import contextvars
    var = globals().setdefault('var', contextvars.ContextVar('var'))
    var.set(n)
    await erlang.acall(name, n)
    await asyncio.create_task(asyncio.sleep(0, var.get()))
    """

    tasks = for n <- 1..20, do: Task.async(fn -> run(pool, code, %{n: n, name: name}) end)
    assert Task.await_many(tasks, 20_000) == for(n <- 1..20, do: {:ok, n})
  end

  test "streams asynchronous generators, and closes them", %{pool: pool} do
    code = """
    closed = []
    async def count():
        try:
            n = 0
            while True:
                await asyncio.sleep(0)
                yield n
                n += 1
        finally:
            closed.append(#{@kind})
    """

    assert run(pool, code) == {:ok, nil}
    stream = ErlangPython.stream(:__main__, :count, [], pool: pool)
    assert Enum.take(stream, 500) == Enum.to_list(0..499)
    assert run(pool, "closed") == {:ok, ["uvloop"]}
  end

  test "stops a task whose caller dies, and ends with its worker", %{pool: pool} do
    code =
      "erlang.send(test, 'in')\ntry:\n    await asyncio.sleep(60)\nfinally:\n    erlang.send(test, 'out')"

    {:ok, handle} = Handle.fetch(pool)
    [%{os_pid: before}] = Pool.workers(pool)
    test = self()
    caller = spawn(fn -> run(pool, code, %{test: test}) end)
    assert_receive "in"
    Process.exit(caller, :kill)
    assert_receive "out"
    eventually(fn -> assert Slots.beside(handle, 1) == 0 end)
    assert [%{os_pid: ^before}] = Pool.workers(pool)
    assert :ok = Pool.restart(pool)
    eventually(fn -> refute os_process?(before) end)
    assert run(pool, "await asyncio.sleep(0, 1)") == {:ok, 1}
  end
end
