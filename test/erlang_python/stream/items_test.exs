defmodule ErlangPython.Stream.ItemsTest do
  # Which items come, when they are made, and what a stream costs meanwhile.
  use ErlangPython.PoolCase, async: true

  import ErlangPython.TestStreams

  alias ErlangPython.Pool.Slots

  @moduletag :tmp_dir

  describe "items" do
    test "come in order and all" do
      pool = start(workers: 1)
      numbers = ErlangPython.stream(:builtins, :range, [100_000], pool: pool)
      assert Enum.to_list(numbers) == Enum.to_list(0..99_999)
      assert Enum.to_list(numbers) |> length() == 100_000
      assert open_streams(pool) == 0
    end

    test "of any type and size" do
      pool = start(workers: 1)
      large = String.duplicate("x", 300_000)
      items = [1, nil, true, [1, {2, "b"}], %{"a" => large}, large, ~D[2024-01-01], 1.5, large]

      assert ErlangPython.stream_eval("iter(items)", %{items: items}, pool: pool)
             |> Enum.to_list() == items
    end

    test "are lines of a file, keys of a dict, characters of a str", %{tmp_dir: dir} do
      pool = start(workers: 1)
      path = Path.join(dir, "lines")
      File.write!(path, "a\nb\n")

      assert ErlangPython.stream(:builtins, :open, [path], pool: pool) |> Enum.to_list() == [
               "a\n",
               "b\n"
             ]

      assert ErlangPython.stream_eval("{'k': 1}", %{}, pool: pool) |> Enum.to_list() == ["k"]
      assert ErlangPython.stream_eval("'ab'", %{}, pool: pool) |> Enum.to_list() == ["a", "b"]
      assert ErlangPython.stream_eval("[]", %{}, pool: pool) |> Enum.to_list() == []
    end

    test "are found at once by a reader whose mailbox is full" do
      pool = start(workers: 1)
      # Slow enough for a pull of each item.
      slow =
        ErlangPython.stream_eval("(time.sleep(0.003) or n for n in range(20))", %{}, pool: pool)

      reader = fn messages ->
        Task.async(fn ->
          for n <- 1..messages//1, do: send(self(), n)
          :erlang.garbage_collect()
          {:reductions, before} = Process.info(self(), :reductions)
          assert Enum.to_list(slow) == Enum.to_list(0..19)
          {:reductions, later} = Process.info(self(), :reductions)
          later - before
        end)
        |> Task.await()
      end

      reader.(0)
      # To look at each message once for each item takes two millions more.
      assert reader.(100_000) < reader.(0) + 500_000
    end

    test "are not made far ahead", %{tmp_dir: dir} do
      pool = start(workers: 1)
      made = Path.join(dir, "made")
      assert pool |> stream(:made, [made]) |> Enum.take(3) == [0, 1, 2]
      assert File.stat!(made).size <= 4
    end

    test "that are ready do not wait for the next one", %{tmp_dir: dir} do
      pool = start(workers: 1)
      %{started: started, go: go} = gate(dir)
      test = self()

      reader =
        Task.async(fn ->
          pool |> stream(:gated, [started, go, 9]) |> Enum.each(&send(test, {:item, &1}))
        end)

      # All that come before the gate, although Python is still in the pull that made the last.
      for n <- 0..8, do: assert_receive({:item, ^n}, 5_000)
      await_file(started)
      refute_received {:item, 9}
      File.touch!(go)
      Task.await(reader)
      assert_received {:item, 9}
      assert_received {:item, 10}
    end

    test "are counted as one request of the worker's" do
      pool = start(workers: 1, max_requests: 3)
      [%{os_pid: before}] = Pool.workers(pool)

      assert ErlangPython.stream(:builtins, :range, [50_000], pool: pool) |> Enum.count() ==
               50_000

      assert [%{os_pid: ^before}] = Pool.workers(pool)
    end
  end

  describe "a paused stream" do
    test "occupies no worker, a thousand of them neither" do
      pool = start()
      open = for n <- 1..1_000, do: {n, first(stream(pool, :numbers, [n]))}
      assert %{idle: 2, in_flight: 0} = Pool.stats(pool)

      assert for(_ <- 1..100, do: ErlangPython.call!(:math, :sqrt, [4], pool: pool))
             |> Enum.uniq() == [2.0]

      for {n, {item, continue}} <- open do
        assert item == n
        halt(continue)
      end

      assert open_streams(pool) == 0
      # Fairly over both workers.
      assert length(log(pool)) == 500
    end

    test "goes on where it was, beside others" do
      pool = start(workers: 1)
      zipped = Stream.zip(stream(pool, :numbers, [0]), stream(pool, :numbers, [100]))
      assert Enum.take(zipped, 3) == [{0, 100}, {1, 101}, {2, 102}]
      assert log(pool) == ["closed", "closed"]
    end

    test "lets the reader call into the same pool" do
      pool = start(workers: 1)

      roots =
        pool
        |> stream(:numbers)
        |> Stream.map(&ErlangPython.call!(:math, :sqrt, [&1], pool: pool))

      assert Enum.take(roots, 2) == [0.0, 1.0]
    end
  end

  test "pulls go on under a full :max_concurrent, and a full window" do
    pool = start(workers: 1, max_concurrent: 1, window: 1)
    assert pool |> stream(:numbers) |> Enum.take(100) == Enum.to_list(0..99)
    await_whole(pool, 1)
    assert Slots.admitted(handle(pool)) == 0
  end

  test "a slow reader holds little" do
    pool = start(workers: 1)

    {_, most} =
      ErlangPython.stream_eval("('x' * 5_000 for n in range(20_000))", %{}, pool: pool)
      |> Enum.reduce({0, 0}, fn _item, {count, most} ->
        if rem(count, 1_000) == 0, do: :erlang.garbage_collect()
        {:memory, memory} = Process.info(self(), :memory)
        {:binary, binaries} = Process.info(self(), :binary)
        {count + 1, max(most, memory + (binaries |> Enum.map(&elem(&1, 1)) |> Enum.sum()))}
      end)

    # Of 100 MB in all.
    assert most < 8_000_000
  end
end
