defmodule ErlangPython.RefLeakTest do
  # A hundred thousand objects, half of them released one by one, half of them by the end of their owners.
  use ErlangPython.PoolCase, async: false

  import ErlangPython.TestRefs, only: [kept: 1]

  alias ErlangPython.Pool.Handle
  alias ErlangPython.Ref

  @owners 8
  # Refs of each owner.
  @each 50
  # Bytes of each object, so that what stays shows in the memory of the workers.
  @size 4_096

  test "100,000 Refs leave nothing" do
    pool = start_pool(workers: 2)
    {:ok, handle} = Handle.fetch(pool)
    round(pool, 10_000)
    before = settled(pool, handle)
    round(pool, 100_000)
    now = settled(pool, handle)
    assert Map.delete(now, :memory) == Map.delete(before, :memory)
    # All of them have 400 MB.
    assert now.memory - before.memory < 40_000_000
  end

  # Many short lives, so that little is kept at a time: what stays then is a leak, not a heap that has grown.
  defp round(pool, count) do
    1..div(count, @each)
    |> Task.async_stream(
      fn n ->
        refs = for _ <- 1..@each, do: keep(pool)
        if rem(n, 2) == 0, do: Enum.each(refs, &Ref.release/1)
      end,
      max_concurrency: @owners,
      timeout: :infinity
    )
    |> Stream.run()
  end

  defp keep(pool),
    do: ErlangPython.call!(:builtins, :bytearray, [@size], pool: pool, return: :ref)

  defp settled(pool, handle) do
    eventually(fn ->
      assert :ets.info(handle.refs, :size) == 0
      assert kept(pool) == 0
      assert :ets.info(handle.callers, :size) <= 1
    end)

    await_whole(pool, 2)
    memory = pool |> Pool.workers() |> Enum.map(& &1.memory) |> Enum.sum()

    %{
      entries: Enum.sum(for table <- Handle.tables(handle), do: :ets.info(table, :size)),
      processes: length(Process.list()),
      messages: handle |> callers() |> Process.info(:message_queue_len),
      memory: memory
    }
  end

  defp callers(handle), do: ErlangPython.Pool.Directory.whereis(handle, :callers)
end
