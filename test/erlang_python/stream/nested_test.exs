defmodule ErlangPython.Stream.NestedTest do
  # Streams that are read while the worker they live in waits for Elixir.
  use ErlangPython.PoolCase, async: true

  setup do
    pool = start_pool(workers: 1)
    name = "nested_stream_#{System.unique_integer([:positive])}"
    on_exit(fn -> ErlangPython.unregister(name) end)
    {:ok, pool: pool, name: name}
  end

  defp numbers(n, pool), do: ErlangPython.stream(:builtins, :range, [n], pool: pool)

  test "by the callback's own process", %{pool: pool, name: name} do
    ErlangPython.register(name, fn n -> n |> numbers(pool) |> Enum.sum() end)

    assert ErlangPython.eval("erlang.call(f, 10_000)", %{f: name}, pool: pool) ==
             {:ok, 49_995_000}

    ErlangPython.register(name, fn n -> n |> numbers(pool) |> Enum.take(3) end)
    assert ErlangPython.eval("erlang.call(f, 10_000)", %{f: name}, pool: pool) == {:ok, [0, 1, 2]}
    await_whole(pool, 1)
  end

  test "by a task of the callback", %{pool: pool, name: name} do
    ErlangPython.register(name, fn n ->
      fn -> n |> numbers(pool) |> Enum.sum() end |> Task.async() |> Task.await()
    end)

    assert ErlangPython.eval("erlang.call(f, 10_000)", %{f: name}, pool: pool) ==
             {:ok, 49_995_000}

    await_whole(pool, 1)
  end

  test "and closed by a process that a callback asks, whatever the main thread waits in", %{
    name: name
  } do
    # Within the grace period a close that has not begun is waited for.
    pool = start_pool(workers: 1, grace: 60_000)
    agent = start_supervised!({Agent, fn -> nil end})
    take = fn nil -> 10 |> numbers(pool) |> Enum.take(2) end
    ErlangPython.register(name, fn -> Agent.get(agent, take, :infinity) end)

    code = """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(1) as threads: out = threads.submit(erlang.call, f).result()
    out
    """

    for code <- ["erlang.call(f)", code],
        do:
          assert(ErlangPython.run(code, %{f: name}, pool: pool, timeout: 20_000) == {:ok, [0, 1]})

    await_whole(pool, 1)
  end

  test "by a process that opened it before, and for which the callback waits", %{
    pool: pool,
    name: name
  } do
    test = self()

    reader =
      Task.async(fn ->
        pool
        |> then(&numbers(100, &1))
        |> Enum.reduce(0, fn n, sum ->
          if n == 0 do
            send(test, :opened)
            receive do: (:go -> :ok)
          end

          sum + n
        end)
      end)

    assert_receive :opened, 10_000

    ErlangPython.register(name, fn ->
      send(reader.pid, :go)
      send(test, {:callback, self()})
      receive do: ({:sum, sum} -> sum)
    end)

    caller = Task.async(fn -> ErlangPython.eval("erlang.call(f)", %{f: name}, pool: pool) end)
    assert_receive {:callback, callback}, 10_000
    send(callback, {:sum, Task.await(reader)})
    assert Task.await(caller) == {:ok, 4950}
    await_whole(pool, 1)
  end
end
