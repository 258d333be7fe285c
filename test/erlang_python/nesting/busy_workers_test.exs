defmodule ErlangPython.Nesting.BusyWorkersTest do
  # Calls of other processes than the callbacks' into pools whose workers all wait for a callback, or seem to.
  use ErlangPython.CallbackCase, async: false

  alias ErlangPython.Pool.{Directory, Handle, Intake, Pending, Slots}
  alias ErlangPython.Request.{Message, Options}

  describe "tasks of a callback" do
    setup do
      register(:fan_out, fn pool, n ->
        1..n
        |> Enum.map(&Task.async(fn -> run!(pool, "import os\n[n, os.getpid()]", %{n: &1}) end))
        |> Task.await_many(30_000)
      end)
    end

    for {workers, window} <- [{1, :auto}, {1, 16}, {2, :auto}, {2, 64}] do
      test "are served by a pool of #{workers} with a window of #{window}, all of whose workers wait" do
        pool = start_pool(workers: unquote(workers), window: unquote(window))

        callers =
          for _ <- 1..4 do
            Task.async(fn -> run!(pool, "erlang.fan_out(pool, 20)", %{pool: pool}) end)
          end

        for answer <- Task.await_many(callers, 30_000),
            do: assert(Enum.map(answer, &hd/1) == Enum.to_list(1..20))

        await_nothing_left(pool)
      end
    end

    test "take free workers first" do
      pool = start_pool(workers: 2)
      [one, two] = Enum.map(Pool.workers(pool), & &1.os_pid)
      code = "import os\n[os.getpid(), erlang.fan_out(pool, 1)[0][1]]"
      assert Enum.sort(run!(pool, code, %{pool: pool})) == Enum.sort([one, two])
    end

    test "are let in by a limit that their request has passed" do
      pool = start_pool(workers: 1, max_concurrent: 1, max_queue: 0)
      register(:own, fn -> run!(pool, "21 * 2") end)
      assert run!(pool, "erlang.own()") == 42
      assert [[1, _], [2, _]] = run!(pool, "erlang.fan_out(pool, 2)", %{pool: pool})
      {:ok, handle} = Handle.fetch(pool)
      await_nothing_left(pool)
      assert Slots.admitted(handle) == 0
    end

    test "nest further" do
      pool = start_pool(workers: 2)

      register(:tree, fn n ->
        if n == 0 do
          1
        else
          [1, 2, 3]
          |> Enum.map(fn _ -> Task.async(fn -> run!(pool, "erlang.tree(n - 1)", %{n: n}) end) end)
          |> Task.await_many(60_000)
          |> Enum.sum()
        end
      end)

      assert run!(pool, "erlang.tree(4)") == 81
      await_nothing_left(pool)
    end
  end

  test "a thread that was left behind in a callback makes no worker look stuck" do
    pool = start_pool(workers: 1)
    {:ok, handle} = Handle.fetch(pool)
    test = self()

    register(:hold, fn what ->
      send(test, {what, self()})
      receive do: (:go -> :ok)
    end)

    where = "import threading\nthreading.current_thread() is threading.main_thread()"

    leave =
      "import threading\nthreading.Thread(target=erlang.hold, args=('left',), daemon=True).start()"

    assert run!(pool, leave) == nil
    assert_receive {"left", left}

    for loop <- [false, true] do
      # A coroutine's callback holds nobody up either.
      coroutine = loop && Task.async(fn -> run(pool, "await erlang.acall('hold', 'loop')") end)
      if loop, do: assert_receive({"loop", _pid})

      code =
        "import erlang\nerlang.send(test, 'busy')\nwhile 'stop' not in globals(): pass\ndel stop"

      busy = Task.async(fn -> run!(pool, code, %{test: test}) end)
      assert_receive "busy"
      queued = Task.async(fn -> run!(pool, where) end)
      eventually(fn -> assert Slots.queued(handle) == 1 end)
      [id] = Pending.of_caller(handle, queued.pid)

      eventually(fn ->
        assert System.monotonic_time(:microsecond) - Slots.last_end(handle, 1) > 20_000
      end)

      Intake.Stuck.reconsider(handle, id)
      assert {_caller, 0, _pinned?} = Pending.standing(handle, id)

      # By a thread beside it: the main one is busy.
      {_generation, worker, _writer} = Directory.worker(handle, 1)
      id = Slots.next_id(handle)
      options = Options.new!([pool: pool], [:pool])
      {:ok, wire} = Message.encode({:exec, "stop = 1", nil}, id, options, 1_000_000)
      send(worker, {:beside, wire})
      assert Task.await(busy) == nil
      assert Task.await(queued) == true
      if loop, do: Task.shutdown(coroutine, :brutal_kill)
    end

    send(left, :go)
    await_nothing_left(pool)
  end

  test "others are served by the workers that are free while one waits, and by it when it is back" do
    pool = start_pool(workers: 1, window: 16)
    test = self()

    register(:wait, fn ->
      send(test, {:in, self()})
      receive do: (:go -> run!(pool, "7"))
    end)

    first = Task.async(fn -> run!(pool, "erlang.wait()") end)
    assert_receive {:in, pid}
    send(pid, :go)
    assert Task.await(first) == 7
    await_nothing_left(pool)
  end
end
