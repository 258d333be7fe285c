defmodule ErlangPython.NestingTest do
  # Python that calls Elixir that calls Python: on the same thread, beside it, in pools that are full.
  use ErlangPython.PoolCase, async: false

  alias ErlangPython.Callbacks.Running
  alias ErlangPython.Pool.{Directory, Handle, Intake, Pending, Slots}
  alias ErlangPython.Request.{Message, Options}

  @moduletag :tmp_dir

  setup do
    on_exit(fn -> Enum.each(ErlangPython.registered(), &ErlangPython.unregister/1) end)
  end

  defp register(name, function, opts \\ []), do: :ok = ErlangPython.register(name, function, opts)

  defp run(pool, code, bindings \\ %{}, opts \\ []),
    do: ErlangPython.run("import erlang\n" <> code, bindings, [pool: pool] ++ opts)

  defp run!(pool, code, bindings \\ %{}, opts \\ []) do
    {:ok, value} = run(pool, code, bindings, opts)
    value
  end

  defp await_nothing_left(pool) do
    {:ok, handle} = Handle.fetch(pool)

    eventually(fn ->
      assert Running.count() == 0
      assert :ets.info(handle.pending, :size) == 0

      for slot <- 1..Slots.count(handle)//1 do
        assert Slots.callbacks(handle, slot) == 0
        assert Slots.beside(handle, slot) == 0
        assert Slots.in_flight(handle, slot) == 0
      end
    end)
  end

  defp os_pid(pool), do: hd(Pool.workers(pool)).os_pid

  @where "import threading, os\n[os.getpid(), threading.get_ident(), threading.current_thread().name]"

  describe "a call of the callback's own process" do
    test "runs in the thread that waits, in the same namespace" do
      pool = start_pool(workers: 2)
      register(:where, fn -> run!(pool, @where) end)

      code =
        "import threading, os\n[[os.getpid(), threading.get_ident(), 'MainThread'], erlang.where()]"

      assert [same, same] = run!(pool, code)

      in_thread = """
      import threading, os
      def work():
          out.append([os.getpid(), threading.get_ident(), "mine"])
          out.append(erlang.where())
      out = []
      globals().update(out=out)
      thread = threading.Thread(target=work, name="mine")
      thread.start(); thread.join()
      out
      """

      assert [same, same] = run!(pool, in_thread)

      register(:set, fn -> run!(pool, "shared = 5") end)
      assert run!(pool, "erlang.set()\nshared") == 5
      await_nothing_left(pool)
    end

    test "goes into another pool as any call does" do
      {one, two} = {start_pool(workers: 1), start_pool(workers: 1)}
      register(:there, fn -> run!(two, "import os\nos.getpid()") end)
      register(:back, fn -> run!(two, "erlang.home()") end)
      register(:home, fn -> run!(one, "import os\nos.getpid()") end)
      assert run!(one, "erlang.there()") == os_pid(two)

      # The one worker of `one` waits for `two`, whose callback wants it: found stuck, it runs it beside.
      assert run!(one, "erlang.back()") == os_pid(one)
      Enum.each([one, two], &await_nothing_left/1)
    end

    test "fails as any call does, and the outer code may go on" do
      pool = start_pool(workers: 1)

      register(:attempt, fn ->
        {:error, error} = run(pool, "1 / 0")
        error.type
      end)

      register(:fail, fn -> ErlangPython.eval!("1 / 0", %{}, pool: pool) end)
      assert run!(pool, "erlang.attempt()") == "ZeroDivisionError"
      assert {:error, error} = run(pool, "erlang.fail()")
      assert %{kind: :elixir, details: %{reason: %Error{type: "ZeroDivisionError"}}} = error
      await_nothing_left(pool)
    end
  end

  describe "depth" do
    setup do
      pool = start_pool(workers: 1)

      register(:down, fn n ->
        if n == 0, do: 0, else: 1 + run!(pool, "erlang.down(n - 1)", %{n: n})
      end)

      {:ok, pool: pool}
    end

    test "of 200 on a pool of one, in the main thread", %{pool: pool} do
      assert run!(pool, "erlang.down(200)") == 200
      assert run!(pool, "erlang.down(200)") == 200
      await_nothing_left(pool)
    end

    test "of 200 in another thread", %{pool: pool} do
      code = """
      from concurrent.futures import ThreadPoolExecutor
      with ThreadPoolExecutor(1) as threads:
          out = threads.submit(erlang.down, 200).result()
      out
      """

      assert run!(pool, code) == 200
      await_nothing_left(pool)
    end

    test "without end is a Python error", %{pool: pool} do
      before = os_pid(pool)
      register(:deeper, fn -> ErlangPython.run!("erlang.deeper()", %{}, pool: pool) end)
      assert {:error, %Error{} = error} = run(pool, "erlang.deeper()")
      assert Exception.message(error) =~ "RecursionError"
      assert run!(pool, "erlang.down(20)") == 20
      assert os_pid(pool) == before
      await_nothing_left(pool)
    end

    test "of a failure: it passes all levels unchanged", %{pool: pool} do
      register(:fall, fn n ->
        if n == 0, do: raise(KeyError, key: 1, term: %{})
        ErlangPython.run!("erlang.fall(n - 1)", %{n: n}, pool: pool)
      end)

      assert {:error, error} = run(pool, "erlang.fall(50)")
      assert %{kind: :elixir, details: %{kind: :error, reason: %KeyError{key: 1}}} = error
      await_nothing_left(pool)
    end
  end

  describe "tasks of a callback" do
    setup do
      register(:fan_out, fn pool, n ->
        1..n
        |> Enum.map(&Task.async(fn -> run!(pool, "import os\n[n, os.getpid()]", %{n: &1}) end))
        |> Task.await_many(30_000)
      end)
    end

    for workers <- [1, 2] do
      test "are served by a pool of #{workers}, all of whose workers wait" do
        pool = start_pool(workers: unquote(workers))

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

  test "a process without callers that serves callbacks gets through a pool whose workers all wait" do
    pool = start_pool(workers: 2)

    server =
      start_supervised!(%{
        id: :server,
        start: {Agent, :start_link, [fn -> 0 end]}
      })

    register(:count, fn ->
      Agent.get_and_update(server, fn n -> {run!(pool, "n + 1", %{n: n}), n + 1} end, 30_000)
    end)

    callers = for _ <- 1..8, do: Task.async(fn -> run!(pool, "erlang.count()") end)
    assert callers |> Task.await_many(60_000) |> Enum.sort() == Enum.to_list(1..8)
    await_nothing_left(pool)
  end

  test "two threads of one request call back at once with different nested calls" do
    pool = start_pool(workers: 1)
    test = self()

    register(:meet, fn name ->
      send(test, {:here, name, self()})
      receive do: (:go -> :ok)
      run!(pool, "import threading\n[name, threading.current_thread().name]", %{name: name})
    end)

    code = """
    import threading
    def work(name):
        out[name] = erlang.meet(name)
    out = {}
    globals().update(out=out)
    threads = [threading.Thread(target=work, args=(n,), name=n) for n in ("a", "b")]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    out
    """

    caller = Task.async(fn -> run!(pool, code) end)
    assert_receive {:here, "a", a}
    assert_receive {:here, "b", b}
    send(b, :go)
    send(a, :go)
    assert Task.await(caller, 30_000) == %{"a" => ["a", "a"], "b" => ["b", "b"]}
    await_nothing_left(pool)
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

  describe "a worker that is killed with the nesting ten deep" do
    test "gives each level its error" do
      pool = start_pool(workers: 1)
      test = self()

      register(:dive, fn n ->
        result =
          if n == 10 do
            send(test, :deep)
            run(pool, "import time\ntime.sleep(60)")
          else
            run(pool, "erlang.dive(n + 1)", %{n: n})
          end

        send(test, {:level, n, result})
        result
      end)

      caller = Task.async(fn -> run(pool, "erlang.dive(1)") end)
      assert_receive :deep
      System.cmd("kill", ["-9", "#{os_pid(pool)}"])
      assert {:error, %Error{kind: :worker_exit, executed: :maybe}} = Task.await(caller, 30_000)

      for n <- 1..10 do
        assert_receive {:level, ^n, {:error, %Error{kind: :worker_exit, executed: :maybe}}}
      end

      await_nothing_left(pool)
      assert run!(pool, "1") == 1
    end

    test "tells the deepest level first" do
      pool = start_pool(workers: 1)
      {:ok, handle} = Handle.fetch(pool)
      test = self()

      register(:dive, fn n ->
        send(test, {:level, n, self()})
        code = if n == 10, do: "import time\ntime.sleep(60)", else: "erlang.dive(n + 1)"
        run(pool, code, %{n: n})
      end)

      caller = Task.async(fn -> run(pool, "erlang.dive(1)") end)

      levels =
        for n <- 1..10 do
          assert_receive {:level, ^n, pid}
          pid
        end

      # Each level's request goes to the alias in its row; the manager sends the ends.
      requests = fn -> Enum.map([caller.pid | levels], &Pending.of_caller(handle, &1)) end
      eventually(fn -> assert Enum.all?(requests.(), &match?([_id], &1)) end)
      aliases = for [id] <- requests.(), do: handle |> Pending.lookup(id) |> elem(1)
      :erlang.trace(Directory.whereis(handle, :manager), true, [:send])
      System.cmd("kill", ["-9", "#{os_pid(pool)}"])

      for alias_ref <- Enum.reverse(aliases) do
        assert_receive {:trace, _manager, kind, {to, %Error{kind: :worker_exit}}, _to}
                       when kind in [:send, :send_to_non_existing_process]

        assert to == alias_ref
      end

      assert {:error, %Error{kind: :worker_exit}} = Task.await(caller, 30_000)
    end

    test "ends a callback that does not act on it after the grace period, and one that waits for nothing at once" do
      pool = start_pool(workers: 1, grace: 100)
      test = self()

      register(:stubborn, fn ->
        send(test, {:stubborn, self()})
        run(pool, "erlang.idle()")
        receive do: (:never -> :ok)
      end)

      register(:idle, fn ->
        send(test, {:idle, self()})
        receive do: (:never -> :ok)
      end)

      caller = Task.async(fn -> run(pool, "erlang.stubborn()") end)
      assert_receive {:stubborn, stubborn}
      assert_receive {:idle, idle}
      refs = Enum.map([idle, stubborn], &Process.monitor/1)
      System.cmd("kill", ["-9", "#{os_pid(pool)}"])
      for ref <- refs, do: assert_receive({:DOWN, ^ref, _, _, :killed})
      assert {:error, %Error{kind: :worker_exit}} = Task.await(caller, 30_000)
      await_nothing_left(pool)
    end
  end

  describe "cancelling the outermost call" do
    test "unwinds all levels on both sides, and leaves the worker alive", %{tmp_dir: dir} do
      pool = start_pool(workers: 1, grace: 20_000)
      test = self()
      log = Path.join(dir, "log")

      register(:dive, fn n ->
        send(test, {:level, n, self()})
        if n == 10, do: receive(do: (:never -> :ok))

        run!(
          pool,
          """
          try:
              erlang.dive(n + 1)
          finally:
              with open(log, "a") as f: f.write(str(n) + "\\n")
          """,
          %{n: n, log: log}
        )
      end)

      before = os_pid(pool)
      caller = spawn(fn -> run(pool, "erlang.dive(1)") end)

      pids =
        for n <- 1..10,
            do:
              (
                assert_receive({:level, ^n, pid})
                pid
              )

      refs = Enum.map(pids, &Process.monitor/1)
      Process.exit(caller, :kill)
      for ref <- refs, do: assert_receive({:DOWN, ^ref, _, _, _})
      assert run!(pool, "1") == 1
      assert os_pid(pool) == before
      assert log |> File.read!() |> String.split() == Enum.map(9..1//-1, &to_string/1)
      await_nothing_left(pool)
    end

    test "at its deadline does the same" do
      pool = start_pool(workers: 1, grace: 20_000)
      register(:spin, fn -> run!(pool, "while True: pass") end)
      before = os_pid(pool)
      assert {:error, %Error{kind: :timeout}} = run(pool, "erlang.spin()", %{}, timeout: 300)
      assert run!(pool, "1") == 1
      assert os_pid(pool) == before
      await_nothing_left(pool)
    end
  end

  test "a nested request that its own caller gives up is stopped, and the outer one goes on" do
    pool = start_pool(workers: 1, grace: 20_000)

    register(:short, fn ->
      {:error, %Error{kind: kind}} = run(pool, "import time\ntime.sleep(60)", %{}, timeout: 100)
      kind
    end)

    before = os_pid(pool)
    assert run!(pool, "[erlang.short(), erlang.short()]") == [:timeout, :timeout]
    assert os_pid(pool) == before
    await_nothing_left(pool)
  end

  test "a nested request that can't be stopped costs its worker after the grace period" do
    pool = start_pool(workers: 1, grace: 100)

    register(:stubborn, fn ->
      run(pool, "import time\ntime.sleep(60)", %{}, timeout: 50)
      1
    end)

    code = """
    from concurrent.futures import ThreadPoolExecutor
    import time
    with ThreadPoolExecutor(1) as threads:
        out = threads.submit(erlang.stubborn).result()
    out
    """

    assert {:error, %Error{kind: :worker_exit} = error} = run(pool, code)
    assert error.message =~ "did not stop within 100 ms"
    await_nothing_left(pool)
  end

  test "a nested request whose caller dies before Python has begun it leaves nothing" do
    pool = start_pool(workers: 1, grace: 20_000)
    test = self()

    # Who makes the nested call is killed at once, again and again: in some rounds before its request has come.
    register(:brief, fn ->
      pid = self()
      send(test, {:in, pid})
      spawn(fn -> Process.exit(pid, :kill) end)
      run(pool, "1")
      receive do: (:never -> :ok)
    end)

    code = """
    for n in range(200):
        try:
            erlang.brief()
        except erlang.ElixirError as error:
            assert error.reason == "killed", error.reason
    """

    assert run!(pool, code) == nil
    await_nothing_left(pool)
  end
end
