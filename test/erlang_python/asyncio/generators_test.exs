defmodule ErlangPython.Asyncio.GeneratorsTest do
  # Asynchronous generators as streams.
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.Pool.{Handle, Slots}

  setup do
    pool = start_pool(workers: 1)

    ErlangPython.exec!(
      """
      import asyncio
      log = []
      async def count(n, pause=None):
          try:
              for i in range(n):
                  if pause is not None: await asyncio.sleep(pause)
                  yield i
          finally:
              log.append('closed')
      async def bad():
          yield 1
          yield 2
          raise ValueError('three')
      async def later(n):
          await asyncio.sleep(0)
          return iter(range(n))
      """,
      %{},
      pool: pool
    )

    {:ok, pool: pool}
  end

  defp stream(function, args, pool),
    do: ErlangPython.stream(:__main__, function, args, pool: pool)

  test "are streams like others", %{pool: pool} do
    assert stream(:count, [0], pool) |> Enum.to_list() == []
    assert stream(:count, [1], pool) |> Enum.to_list() == [0]
    assert stream(:count, [20_000], pool) |> Enum.to_list() == Enum.to_list(0..19_999)
    assert stream(:count, [20, 0.001], pool) |> Enum.to_list() == Enum.to_list(0..19)
    assert stream(:later, [3], pool) |> Enum.to_list() == [0, 1, 2]
  end

  test "close when the reader halts, and do not occupy the worker meanwhile", %{pool: pool} do
    assert stream(:count, [1_000_000, 0], pool) |> Enum.take(3) == [0, 1, 2]
    assert run("log", pool) == {:ok, ["closed"]}
    reader = Task.async(fn -> stream(:count, [2, 60], pool) |> Enum.to_list() end)
    eventually(fn -> assert beside(pool) == 1 end)
    assert run("1", pool) == {:ok, 1}
    Task.shutdown(reader, :brutal_kill)
    eventually(fn -> assert run("log", pool) == {:ok, ["closed", "closed"]} end)
    eventually(fn -> assert beside(pool) == 0 end)
  end

  test "raise at the element where they raised", %{pool: pool} do
    test = self()

    assert_raise Error, ~r/ValueError: three/, fn ->
      stream(:bad, [], pool) |> Enum.each(&send(test, {:item, &1}))
    end

    assert_received {:item, 1}
    assert_received {:item, 2}
  end

  test "that raise SystemExit leave the loop to others", %{pool: pool} do
    run("async def leaving():\n    yield 1\n    exit(3)", pool)

    assert_raise Error, ~r/SystemExit: 3/, fn ->
      stream(:leaving, [], pool) |> Enum.to_list()
    end

    assert stream(:count, [2, 0], pool) |> Enum.to_list() == [0, 1]
  end

  test "are closed in the task in which they ran", %{pool: pool} do
    code = """
    import contextvars
    var = contextvars.ContextVar('var')
    async def ticks(n):
        token, task = var.set(n), asyncio.current_task()
        try:
            for i in range(n):
                await asyncio.sleep(0)
                yield i
        finally:
            await asyncio.sleep(0)
            var.reset(token)
            log.append(asyncio.current_task() is task)
    """

    run(code, pool)
    assert stream(:ticks, [100_000], pool) |> Enum.take(3) == [0, 1, 2]
    assert run("log", pool) == {:ok, [true]}
  end

  test "that catch their cancellation end all the same", %{pool: pool} do
    code = """
    async def stubborn(test):
        yield 1
        erlang.send(test, "waits")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            log.append('caught')
        yield 2
    """

    run(code, pool)
    test = self()
    reader = Task.async(fn -> stream(:stubborn, [test], pool) |> Enum.to_list() end)
    assert_receive "waits", 5_000
    Task.shutdown(reader, :brutal_kill)
    eventually(fn -> assert run("log", pool) == {:ok, ["caught"]} end)
    eventually(fn -> assert beside(pool) == 0 end)
  end

  test "work for whoever pulls, also in tasks that they started before" do
    pool = start_pool(workers: 1, stdout: :caller)
    test = self()

    code = """
    import asyncio, erlang
    async def items(callers):
        turns = asyncio.Queue()
        async def work():
            while True:
                print('item', await turns.get())
                seen.set_result([await erlang.acall(callers), erlang.current_request().id])
        task = asyncio.create_task(work())
        try:
            for n in range(3):
                seen = asyncio.get_running_loop().create_future()
                turns.put_nowait(n)
                there = await seen
                yield there + [await erlang.acall(callers), erlang.current_request().id]
        finally:
            task.cancel()
    """

    ErlangPython.exec!(code, %{}, pool: pool)
    callers = fn -> Process.get(:"$callers") end

    printed =
      ExUnit.CaptureIO.capture_io(fn ->
        assert [[_, first, _, first], [_, second, _, second], [_, third, _, third]] =
                 items = Enum.to_list(stream(:items, [callers], pool))

        assert Enum.uniq([first, second, third]) == [first, second, third]
        for [there, _, here, _] <- items, do: assert({there, here} == {[test], [test]})
      end)

    assert printed == "item 0\nitem 1\nitem 2\n"
  end

  test "end the callbacks of a pull with it", %{pool: pool} do
    test = self()

    ErlangPython.exec!(
      """
      import erlang
      async def ask(wait):
          yield 0
          yield await erlang.acall(wait)
      """,
      %{},
      pool: pool
    )

    wait = fn ->
      send(test, {:asked, self()})
      Process.sleep(:infinity)
    end

    reader = spawn(fn -> :ask |> stream([wait], pool) |> Enum.to_list() end)
    assert_receive {:asked, callback}
    ref = Process.monitor(callback)
    Process.exit(reader, :kill)
    # It may be gone before the signal of the monitor has come to it.
    assert_receive {:DOWN, ^ref, :process, ^callback, why} when why in [:killed, :noproc]
    await_whole(pool, 1)
  end

  test "many at once in one worker", %{pool: pool} do
    sums =
      1..50
      |> Enum.map(fn _ ->
        Task.async(fn -> stream(:count, [20, 0.005], pool) |> Enum.sum() end)
      end)
      |> Task.await_many(30_000)

    assert Enum.uniq(sums) == [190]
  end

  defp run(code, pool), do: ErlangPython.run(code, %{}, pool: pool)

  defp beside(pool) do
    {:ok, handle} = Handle.fetch(pool)
    Slots.beside(handle, 1)
  end
end
