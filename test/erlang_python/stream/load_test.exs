defmodule ErlangPython.Stream.LoadTest do
  # Many readers at once, some of which are killed: all are served, and nothing is left.
  use ErlangPython.PoolCase, async: true

  import ErlangPython.TestStreams

  test "many readers do not shut calls out, and are served in turn" do
    pool = start(workers: 1, window: 1)
    test = self()

    readers =
      for _ <- 1..50 do
        spawn_link(fn ->
          pool
          |> stream(:numbers)
          |> Enum.each(fn n -> if n == 300, do: send(test, {:far, self()}) end)
        end)
      end

    for _ <- 1..20, do: assert(ErlangPython.call!(:math, :sqrt, [4], pool: pool) == 2.0)
    for reader <- readers, do: assert_receive({:far, ^reader}, 30_000)

    for reader <- readers do
      Process.unlink(reader)
      Process.exit(reader, :kill)
    end

    eventually(fn -> assert open_streams(pool) == 0 end)
    await_whole(pool, 1)
  end

  test "workers that are killed under their readers leave nothing" do
    pool = start(workers: 2)

    readers =
      for _ <- 1..40 do
        Task.async(fn ->
          assert_raise Error, fn -> pool |> stream(:numbers) |> Enum.each(fn _ -> :ok end) end
        end)
      end

    eventually(fn -> assert open_streams(pool) == 40 end)
    for %{os_pid: pid} <- Pool.workers(pool), do: System.cmd("kill", ["-9", "#{pid}"])
    for error <- Task.await_many(readers, 30_000), do: assert(error.kind == :worker_exit)
    assert open_streams(pool) == 0
    await_whole(pool, 2)
  end

  test "readers that come, halt and die at random leave nothing" do
    pool = start(workers: 2, grace: 5_000)
    seed = :rand.uniform(1_000_000)
    :rand.seed(:exsss, seed)
    plans = for _ <- 1..300, do: {Enum.random([:halt, :kill, :read]), :rand.uniform(200)}

    plans
    |> Task.async_stream(fn plan -> read(pool, plan) end, max_concurrency: 20, timeout: 60_000)
    |> Enum.each(fn result -> assert {:ok, :ok} = result, "seed #{seed}" end)

    eventually(fn -> assert open_streams(pool) == 0, "seed #{seed}" end)
    await_whole(pool, 2)
  end

  defp read(pool, {:halt, n}) do
    assert pool |> stream(:numbers) |> Enum.take(n) == Enum.to_list(0..(n - 1))
    :ok
  end

  defp read(pool, {:read, n}) do
    assert ErlangPython.stream(:builtins, :range, [n], pool: pool) |> Enum.count() == n
    :ok
  end

  defp read(pool, {:kill, n}) do
    {pid, ref} =
      spawn_monitor(fn ->
        pool |> stream(:numbers) |> Enum.each(fn i -> if i == n, do: exit(:enough) end)
      end)

    if rem(n, 2) == 0, do: Process.exit(pid, :kill)
    assert_receive {:DOWN, ^ref, :process, ^pid, reason} when reason in [:killed, :enough], 30_000
    :ok
  end
end
