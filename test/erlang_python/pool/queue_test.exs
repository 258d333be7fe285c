defmodule ErlangPython.Pool.QueueTest do
  # Requests behind others: who runs them, in which order, and what becomes of them if a worker dies.
  use ErlangPython.PoolCase, async: true

  @moduletag :tmp_dir

  @gated gated()

  # Sent to a worker, or taken back from one that is held by a long one.
  defp await_open(pool, count) do
    eventually(fn ->
      assert %{in_flight: in_flight, queued: queued} = Pool.stats(pool)
      assert in_flight + queued == count
    end)
  end

  describe "requests behind one that" do
    setup %{tmp_dir: dir} do
      pool = start_pool(workers: 1, window: 16)
      gate = gate(dir)
      %{pool: pool, gate: gate}
    end

    # Eight requests for the one worker, behind one that waits at its gate.
    defp behind(pool, gate, code) do
      first = Task.async(fn -> ErlangPython.run(@gated <> code, gate, pool: pool) end)
      await_file(gate.started)
      rest = for n <- 1..8, do: Task.async(fn -> ErlangPython.eval("n", %{n: n}, pool: pool) end)
      await_open(pool, 9)
      {first, rest}
    end

    test "kills its worker are run by the next, unseen by their callers", %{
      pool: pool,
      gate: gate
    } do
      {first, rest} = behind(pool, gate, "import os; os._exit(1)")
      File.touch!(gate.go)
      assert {:error, %Error{kind: :worker_exit, executed: :maybe}} = Task.await(first)
      assert Task.await_many(rest) == Enum.map(1..8, &{:ok, &1})
      await_whole(pool, 1)
    end

    test "ends in order are answered in order", %{pool: pool, gate: gate} do
      {first, rest} = behind(pool, gate, "0")
      File.touch!(gate.go)
      assert Task.await(first) == {:ok, 0}
      assert Task.await_many(rest) == Enum.map(1..8, &{:ok, &1})
    end

    test "does not end time out without having run", %{pool: pool, gate: gate} do
      first = Task.async(fn -> ErlangPython.run(@gated, gate, pool: pool) end)
      await_file(gate.started)

      assert {:error, %Error{kind: :timeout}} =
               ErlangPython.exec("import builtins; builtins.ran = True", %{},
                 pool: pool,
                 timeout: 50
               )

      # Until the worker has said that it won't run it.
      eventually(fn -> assert %{in_flight: 1} = Pool.stats(pool) end)
      File.touch!(gate.go)
      assert {:ok, nil} = Task.await(first)

      assert ErlangPython.eval("hasattr(__import__('builtins'), 'ran')", %{}, pool: pool) ==
               {:ok, false}
    end
  end

  test "a request behind a long one goes to a worker that becomes free", %{tmp_dir: dir} do
    pool = start_pool(workers: 2, window: 16)
    gates = for n <- 1..2, do: gate(Path.join(dir, "#{n}") |> tap(&File.mkdir_p!/1))

    long =
      for gate <- gates,
          do: Task.async(fn -> ErlangPython.run(@gated <> "0", gate, pool: pool) end)

    Enum.each(gates, &await_file(&1.started))
    short = for n <- 1..10, do: Task.async(fn -> ErlangPython.eval("n", %{n: n}, pool: pool) end)
    await_open(pool, 12)

    # One of the two workers ends; it takes over what waits behind the other.
    File.touch!(hd(gates).go)
    assert Task.await_many(short) == Enum.map(1..10, &{:ok, &1})
    File.touch!(List.last(gates).go)
    assert Task.await_many(long) == [{:ok, 0}, {:ok, 0}]
  end

  test "requests wait for a worker in the order in which they came", %{tmp_dir: dir} do
    pool = start_pool(workers: 1, window: 1)
    gate = gate(dir)
    first = Task.async(fn -> ErlangPython.run(@gated <> "log = []", gate, pool: pool) end)
    await_file(gate.started)

    rest =
      for n <- 1..20 do
        task = Task.async(fn -> ErlangPython.exec("log.append(n)", %{n: n}, pool: pool) end)
        eventually(fn -> assert %{queued: ^n} = Pool.stats(pool) end)
        task
      end

    File.touch!(gate.go)
    Task.await_many([first | rest])
    assert ErlangPython.eval("log", %{}, pool: pool) == {:ok, Enum.to_list(1..20)}
  end
end
