defmodule ErlangPython.Faults.RequestsTest do
  # What must hold when parts die at the worst moment: each request has one end and runs at most once, others are
  # unharmed, and the pool is whole afterwards. Here: requests around one that fails, or that moves.
  use ErlangPython.PoolCase, async: true

  require ErlangPython.Protocol

  alias ErlangPython.{MessagePack, Protocol}
  alias ErlangPython.Pool.{Directory, Pending, Slots}

  @moduletag :tmp_dir

  @gated gated()

  # Appends a line in one write, so that the runs of many workers can be counted.
  @append """
  import os
  fd = os.open(log, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
  os.write(fd, b"%d\\n" % n)
  os.close(fd)
  """

  defp runs(log) do
    case File.read(log) do
      {:ok, text} -> text |> String.split() |> Enum.frequencies()
      {:error, :enoent} -> %{}
    end
  end

  defp await_in_flight(pool, n),
    do: eventually(fn -> assert %{in_flight: ^n} = Pool.stats(pool) end)

  test "one whose end was lost does not wait for another to end", %{tmp_dir: dir} do
    pool = start_pool(workers: 1, window: 4, grace: 50)
    {:ok, os_pid} = ErlangPython.eval("__import__('os').getpid()", %{}, pool: pool)
    # What no other worker can take is sent at once.
    {:ok, context} = ErlangPython.Context.open(pool: pool, mode: :shared)
    {running, _gate} = occupy(pool, dir)
    options = [context: context, timeout: :infinity]
    behind = Task.async(fn -> ErlangPython.eval("1", %{}, options) end)
    await_in_flight(pool, 2)
    id = pool |> handle() |> Pending.places() |> Enum.map(&elem(&1, 0)) |> Enum.max()
    {_generation, worker, _writer} = Directory.worker(handle(pool), 1)

    # Python says nothing any more: the test says it.
    suspend(os_pid)
    {:ok, done, []} = MessagePack.encode("done")
    head = IO.iodata_to_binary([Protocol.head(Protocol.type(:cancel_ack), id) | done])
    send(worker, {:cancel, id})
    send(worker, {:message, :control, [head]})

    assert {:error, %Error{kind: :worker_exit} = error} = Task.await(running, 60_000)
    assert error.message =~ "did not stop within 50 ms"
    # It had not begun.
    assert {:error, %Error{kind: :context_lost, executed: :no}} = Task.await(behind)
  end

  # They go to the worker all at once when the first has ended.
  defp await_queued(pool, n),
    do: eventually(fn -> assert %{in_flight: 1, queued: ^n} = Pool.stats(pool) end)

  describe "a request that had ended" do
    test "when the next one killed its worker is not run again", %{tmp_dir: dir} do
      pool = start_pool(workers: 1, window: 16)

      for round <- 1..10 do
        dir = Path.join(dir, "#{round}") |> tap(&File.mkdir_p!/1)
        log = Path.join(dir, "log")
        gate = gate(dir)
        first = Task.async(fn -> ErlangPython.run(@gated <> "0", gate, pool: pool) end)
        await_file(gate.started)

        before =
          for n <- 1..5 do
            bindings = %{log: log, n: n}
            task = Task.async(fn -> ErlangPython.exec(@append, bindings, pool: pool) end)
            await_queued(pool, n)
            task
          end

        killer =
          Task.async(fn -> ErlangPython.exec("import os; os._exit(1)", %{}, pool: pool) end)

        await_queued(pool, 6)
        File.touch!(gate.go)
        [_first | results] = Task.await_many([first | before])
        assert {:error, %Error{kind: :worker_exit}} = Task.await(killer)

        for {result, n} <- Enum.with_index(results, 1) do
          assert runs(log)["#{n}"] == 1
          assert result == :ok or match?({:error, %Error{kind: :worker_exit}}, result)
        end

        await_whole(pool, 1)
      end
    end
  end

  describe "code that holds Python's lock" do
    # PyDLL keeps the lock during a call, so that no thread of Python's runs.
    @hold "import ctypes\nctypes.PyDLL(None).usleep(1_500_000)\n'done'"

    test "is not killed for the deadline of a request behind it", %{tmp_dir: dir} do
      pool = start_pool(workers: 1, window: 16, grace: 100)
      # What no other worker can take is not taken back.
      {:ok, context} = ErlangPython.Context.open(pool: pool, mode: :shared)
      gate = gate(dir)
      holder = Task.async(fn -> ErlangPython.run(@gated <> @hold, gate, pool: pool) end)
      await_file(gate.started)
      test = self()

      behind =
        Task.async(fn ->
          send(test, :sent)
          ErlangPython.eval("1", %{}, context: context, timeout: 500)
        end)

      assert_receive :sent
      await_in_flight(pool, 2)
      File.touch!(gate.go)
      assert {:error, %Error{kind: :timeout}} = Task.await(behind)
      assert Task.await(holder) == {:ok, "done"}
      await_whole(pool, 1)
    end

    test "is killed for its own" do
      pool = start_pool(workers: 1, grace: 50)

      assert {:error, %Error{kind: :timeout}} =
               ErlangPython.run("import ctypes; ctypes.PyDLL(None).sleep(60)", %{},
                 pool: pool,
                 timeout: 50
               )

      await_whole(pool, 1)
    end
  end

  describe "max_requests with a full window" do
    test "loses nothing and runs nothing twice", %{tmp_dir: dir} do
      pool = start_pool(workers: 2, window: 16, max_requests: 7)
      log = Path.join(dir, "log")

      results =
        1..200
        |> Task.async_stream(
          &ErlangPython.run(@append <> "n", %{log: log, n: &1}, pool: pool),
          max_concurrency: 40,
          timeout: 60_000
        )
        |> Enum.map(fn {:ok, result} -> result end)

      assert results == Enum.map(1..200, &{:ok, &1})
      assert runs(log) == Map.new(1..200, &{"#{&1}", 1})
      await_whole(pool, 2)
    end
  end

  test "a request that has moved since it was asked back is still run", %{tmp_dir: dir} do
    pool = start_pool(workers: 1, window: 1)
    gate = gate(dir)
    first = Task.async(fn -> ErlangPython.run(@gated <> "0", gate, pool: pool) end)
    await_file(gate.started)
    second = Task.async(fn -> ErlangPython.eval("1", %{}, pool: pool) end)
    eventually(fn -> assert %{queued: 1} = Pool.stats(pool) end)
    [id] = for {id, 0} <- Pending.places(handle(pool)), do: id

    # What its caller sends if it looked before the request went back into the queue. The ping is answered
    # behind it.
    {_generation, worker, _writer} = Directory.worker(handle(pool), 1)
    send(worker, {:rebalance, id, nil})
    assert %{"rss" => _bytes} = ErlangPython.Worker.ping(worker, 10_000)
    File.touch!(gate.go)
    assert Task.await(first) == {:ok, 0}
    assert Task.await(second) == {:ok, 1}
  end

  test "a claim that its caller did not live to use is given back" do
    pool = start_pool(workers: 1, window: 1)
    {:ok, 1} = Slots.claim(handle(pool))
    Slots.add_queued(handle(pool), 1)
    assert {:ok, 1} = ErlangPython.eval("1", %{}, pool: pool)
    await_whole(pool, 1)
    assert Pool.restart(pool) == :ok
  end
end
