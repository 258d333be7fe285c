defmodule ErlangPython.Nesting.EndsTest do
  # Nested requests that are given up, cancelled or lost with their worker, at whatever level.
  use ErlangPython.CallbackCase, async: false

  import ErlangPython.Pool.Pending.Row, only: [row: 2]

  alias ErlangPython.Pool.{Directory, Handle, Pending}

  @moduletag :tmp_dir

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
      aliases = for [id] <- requests.(), do: handle |> Pending.lookup(id) |> row(:dest)
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
