defmodule ErlangPython.Asyncio.BlockedLoopTest do
  # Coroutines that block their event loop with `erlang.call`, and what its callback asks of the same worker.
  use ErlangPython.PoolCase, async: true

  @blocking "async def f(): return erlang.call(callback, n)\nawait f()"

  setup_all do
    pool = :"#{__MODULE__}"

    start_supervised!(
      {Pool, name: pool, workers: 1, python: ErlangPython.TestPython.executable()}
    )

    ErlangPython.exec!(
      """
      closed = []
      async def count(n):
          try:
              for i in range(n): yield i
          finally:
              closed.append(n)
      """,
      %{},
      pool: pool
    )

    {:ok, pool: pool}
  end

  defp block(pool, n \\ nil, callback),
    do: ErlangPython.run(@blocking, %{n: n, callback: callback}, pool: pool)

  defp count(n, pool), do: ErlangPython.stream(:__main__, :count, [n], pool: pool)

  test "it may call coroutines, as deep as it likes", %{pool: pool} do
    assert block(pool, 20, fn n -> deeper(pool, n) end) == {:ok, 20}
    assert ErlangPython.call(:asyncio, :sleep, [0, "on"], pool: pool) == {:ok, "on"}
  end

  defp deeper(_pool, 0), do: 0

  defp deeper(pool, n) do
    {:ok, below} = block(pool, n - 1, fn n -> deeper(pool, n) end)
    below + 1
  end

  test "many do so at once", %{pool: pool} do
    slept = fn n -> ErlangPython.call!(:asyncio, :sleep, [0.001, n], pool: pool) end
    tasks = for n <- 1..50, do: Task.async(fn -> block(pool, n, slept) end)
    assert Task.await_many(tasks) == for(n <- 1..50, do: {:ok, n})
  end

  test "it may read asynchronous streams of its own", %{pool: pool} do
    assert block(pool, fn _ -> Enum.sum(count(2_000, pool)) end) == {:ok, 1_999_000}
    assert block(pool, fn _ -> Enum.take(count(2_001, pool), 2) end) == {:ok, [0, 1]}
    assert {:ok, [2_000, 2_001]} = ErlangPython.eval("closed[-2:]", %{}, pool: pool)
  end

  for levels <- [1, 2] do
    test "it can't go on with a stream of a blocked loop, and is told so, #{levels} deep",
         %{pool: pool} do
      number = 2_002 + unquote(levels)

      {:suspended, 0, go_on} =
        Enumerable.reduce(count(number, pool), {:cont, nil}, fn i, _ -> {:suspend, i} end)

      message = ask_below(unquote(levels), pool, fn -> go_on.({:cont, nil}) end)
      assert message =~ "with `await erlang.acall(...)`"
      eventually(fn -> assert last_closed(pool) == [number] end)
    end
  end

  # What a callback is told, that many blocked loops down.
  defp ask_below(0, _pool, ask), do: assert_raise(Error, ask).message

  defp ask_below(level, pool, ask) do
    assert {:ok, message} = block(pool, fn _ -> ask_below(level - 1, pool, ask) end)
    message
  end

  test "it may halt one of the blocked loop, which closes it when it goes on", %{pool: pool} do
    {:suspended, 0, go_on} =
      Enumerable.reduce(count(2_010, pool), {:cont, nil}, fn i, _ -> {:suspend, i} end)

    assert block(pool, fn _ -> elem(go_on.({:halt, "halted"}), 1) end) == {:ok, "halted"}
    eventually(fn -> assert last_closed(pool) == [2_010] end)
  end

  defp last_closed(pool), do: ErlangPython.eval!("closed[-1:]", %{}, pool: pool)
end
