defmodule ErlangPython.Callbacks.LoadTest do
  # Very many callbacks at once with checked answers, a random mix, and what they leave: nothing.
  use ErlangPython.PoolCase, async: false

  alias ErlangPython.Callbacks.Running
  alias ErlangPython.Pool.{Directory, Handle, Slots}

  @moduletag timeout: 180_000

  setup do
    on_exit(fn -> Enum.each(ErlangPython.registered(), &ErlangPython.unregister/1) end)
  end

  @threads 16
  @callbacks 100_000

  test "#{@callbacks} callbacks from #{@threads} threads have their own answers" do
    pool = start_pool(workers: 1)
    :ok = ErlangPython.register(:square, fn thread, n -> [thread, n * n] end)

    code = """
    from concurrent.futures import ThreadPoolExecutor
    def work(thread):
        for n in range(count):
            assert erlang.square(thread, n) == [thread, n * n]
        return count
    globals().update(count=count)
    with ThreadPoolExecutor(threads) as pool:
        out = sum(pool.map(work, range(threads)))
    out
    """

    bindings = %{threads: @threads, count: div(@callbacks, @threads)}
    assert ErlangPython.run(code, bindings, pool: pool, timeout: 120_000) == {:ok, @callbacks}
    assert_nothing_left(pool)
  end

  test "a random mix ends each call with its own answer and leaves nothing" do
    seed = System.unique_integer([:positive]) + System.os_time(:microsecond)
    pool = start_pool(workers: 2, grace: 500)
    register_mix(pool)
    mix(pool, seed, 1_000)
    before = left(pool)
    mix(pool, seed + 1, 4_000)

    eventually(fn ->
      grown =
        for {key, now} <- left(pool), now > before[key] + slack(key), do: {key, before[key], now}

      assert grown == []
    end)
  end

  # Each worker keeps up to four threads for requests beside the main one: a thread has a connection, and that a
  # descriptor, a port and two processes.
  @spare 4
  defp slack(kind) when kind in [:descriptors, :threads], do: @spare
  defp slack(:ports), do: 2 * @spare
  defp slack(:processes), do: 4 * @spare
  defp slack(_other), do: 0

  # Each answers with the number that it was given, whatever way it takes.
  defp register_mix(pool) do
    nested = fn n, depth ->
      ErlangPython.run!("erlang.mix_down(n, depth)", %{n: n, depth: depth}, pool: pool)
    end

    :ok = ErlangPython.register(:mix_plain, fn n -> n end)

    :ok =
      ErlangPython.register(:mix_down, fn n, d -> if d == 0, do: n, else: nested.(n, d - 1) end)

    :ok = ErlangPython.register(:mix_raise, fn n -> raise "#{n}" end)
    :ok = ErlangPython.register(:mix_killed, fn _n -> Process.exit(self(), :kill) end)
    :ok = ErlangPython.register(:mix_wait, fn _n -> receive do: (:never -> :ok) end)

    :ok =
      ErlangPython.register(:mix_tasks, fn n ->
        1..3
        |> Enum.map(fn i -> Task.async(fn -> nested.(n * i, 1) end) end)
        |> Task.await_many(60_000)
        |> Enum.sum()
        |> div(6)
      end)
  end

  @threads_code """
  from concurrent.futures import ThreadPoolExecutor
  with ThreadPoolExecutor(2) as threads:
      out = list(threads.map(lambda k: k(), [work, work]))[0]
  out
  """

  defp mix(pool, seed, ms) do
    until = System.monotonic_time(:millisecond) + ms

    1..12
    |> Enum.map(fn caller ->
      Task.async(fn ->
        :rand.seed(:exsss, {seed, caller, 0})
        mix(pool, seed, caller * 1_000_000, until)
      end)
    end)
    |> Task.await_many(120_000)
  end

  defp mix(pool, seed, n, until) do
    if System.monotonic_time(:millisecond) < until do
      kind = Enum.random(kinds())
      result = request(pool, kind, n)
      assert right?(kind, n, result), "#{inspect({kind, n, result})} under the seed #{seed}"
      mix(pool, seed, n + 1, until)
    end
  end

  defp kinds do
    List.duplicate(:plain, 10) ++
      List.duplicate(:down, 6) ++
      [:tasks, :tasks, :threads, :threads, :raise, :killed, :deadline, :dead_caller]
  end

  defp request(pool, :plain, n), do: eval(pool, "erlang.mix_plain(n)", n)
  defp request(pool, :down, n), do: eval(pool, "erlang.mix_down(n, #{:rand.uniform(12)})", n)
  defp request(pool, :tasks, n), do: eval(pool, "erlang.mix_tasks(n)", n)
  defp request(pool, :raise, n), do: eval(pool, "erlang.mix_raise(n)", n)
  defp request(pool, :killed, n), do: eval(pool, "erlang.mix_killed(n)", n)
  defp request(pool, :deadline, n), do: eval(pool, "erlang.mix_wait(n)", n, 20)

  defp request(pool, :threads, n) do
    code = "work = lambda: erlang.mix_down(#{n}, 2)\n" <> @threads_code
    # A function of its own: other requests of the same worker would replace `work` meanwhile.
    body = code |> String.split("\n") |> Enum.map_join("\n", &("    " <> &1))
    body = String.replace(body, "    out\n", "    return out\n")

    ErlangPython.run(
      "def mix_#{n}():\n#{body}\ntry: out_#{n} = mix_#{n}()\nfinally: del mix_#{n}\n[out_#{n}, globals().pop('out_#{n}')][0]",
      %{},
      pool: pool
    )
  end

  defp request(pool, :dead_caller, n) do
    {pid, ref} = spawn_monitor(fn -> eval(pool, "erlang.mix_wait(n)", n) end)
    :erlang.yield()
    Process.exit(pid, :kill)
    receive do: ({:DOWN, ^ref, _, _, reason} -> reason)
  end

  defp eval(pool, code, n, timeout \\ 60_000),
    do: ErlangPython.eval(code, %{n: n}, pool: pool, timeout: timeout)

  defp right?(:raise, n, {:error, %Error{kind: :elixir, details: %{reason: reason}}}),
    do: reason == %RuntimeError{message: "#{n}"}

  defp right?(:killed, _n, {:error, %Error{kind: :elixir, details: details}}),
    do: details.reason == :killed

  defp right?(:deadline, _n, {:error, %Error{kind: :timeout}}), do: true
  defp right?(:dead_caller, _n, :killed), do: true
  defp right?(_kind, n, result), do: result == {:ok, n}

  defp left(pool) do
    assert_nothing_left(pool)
    {:ok, handle} = Handle.fetch(pool)
    for process <- Process.list(), do: :erlang.garbage_collect(process)
    workers = Pool.workers(pool)

    %{
      processes: length(Process.list()),
      ports: length(Port.list()),
      files: length(File.ls!(Directory.folder(handle))),
      descriptors: workers |> Enum.map(&count(&1, "fd")) |> Enum.max(),
      threads: workers |> Enum.map(&count(&1, "task")) |> Enum.max()
    }
  end

  defp count(%{os_pid: os_pid}, what) do
    case File.ls("/proc/#{os_pid}/#{what}") do
      {:ok, entries} -> length(entries)
      {:error, _reason} -> 0
    end
  end

  defp assert_nothing_left(pool) do
    {:ok, handle} = Handle.fetch(pool)
    await_whole(pool, Slots.count(handle))

    eventually(fn ->
      assert Running.count() == 0
      assert :ets.info(handle.pending, :size) == 0

      for slot <- 1..Slots.count(handle)//1,
          do: assert({Slots.callbacks(handle, slot), Slots.beside(handle, slot)} == {0, 0})
    end)
  end
end
