defmodule ErlangPython.Nesting.ServersTest do
  # A process of which nobody knows for whom it works, as a server that callbacks ask, calls into a pool whose workers wait.
  use ErlangPython.CallbackCase, async: false

  alias ErlangPython.Context
  alias ErlangPython.Pool.{Directory, Handle, Intake, Pending, Slots}

  # `erlang.ask()` tells the test, and when that lets it, asks a server, which calls into the pool.
  defp register_ask(pool, outside \\ &run!(&1, "21 * 2")) do
    test = self()
    server = start_supervised!({Agent, fn -> nil end})

    register(:ask, fn ->
      send(test, {:asked, self()})

      receive do
        :go -> Agent.get(server, fn nil -> outside.(pool) end, :infinity)
        :leave -> 0
      end
    end)
  end

  # The task of a caller whose code asks, and the callback that waits.
  defp asking(caller) do
    task = Task.async(caller)
    assert_receive {:asked, callback}
    {task, callback}
  end

  defp go_on({task, callback}, message \\ :go) do
    send(callback, message)
    Task.await(task, 60_000)
  end

  # When all workers that are left drain.
  defp restarting(pool) do
    restart = Task.async(fn -> Pool.restart(pool) end)

    eventually(fn ->
      assert Enum.all?(Pool.workers(pool), &match?(%{state: :draining}, &1))
    end)

    restart
  end

  describe "is served" do
    for window <- [:auto, 16] do
      test "if all workers wait, with a window of #{window}" do
        pool = start_pool(workers: 2, window: unquote(window))
        server = start_supervised!(%{id: :server, start: {Agent, :start_link, [fn -> 0 end]}})

        register(:count, fn ->
          Agent.get_and_update(server, fn n -> {run!(pool, "n + 1", %{n: n}), n + 1} end, 30_000)
        end)

        callers = for _ <- 1..8, do: Task.async(fn -> run!(pool, "erlang.count()") end)
        assert callers |> Task.await_many(60_000) |> Enum.sort() == Enum.to_list(1..8)
        await_nothing_left(pool)
      end
    end

    test "if the others are set aside for contexts" do
      pool = start_pool(workers: 3)
      register_ask(pool)
      contexts = for _ <- 1..2, do: Context.open(pool: pool, mode: :dedicated)
      assert go_on(asking(fn -> run!(pool, "erlang.ask()") end)) == 42
      for {:ok, context} <- contexts, do: :ok = Context.close(context)
      await_nothing_left(pool)
    end

    test "if a coroutine waits whose worker is set aside for its context" do
      pool = start_pool(workers: 1)
      register_ask(pool)
      {:ok, context} = Context.open(pool: pool, mode: :dedicated)
      code = "import erlang\nawait erlang.acall('ask')"
      assert go_on(asking(fn -> ErlangPython.run!(code, %{}, context: context) end)) == 42
      :ok = Context.close(context)
    end

    test "if the last worker is set aside for a context that a coroutine's callback has opened" do
      pool = start_pool(workers: 1)
      register_ask(pool)

      register(:in_context, fn ->
        {:ok, context} = Context.open(pool: pool, mode: :dedicated)
        answer = ErlangPython.run!("erlang.ask()", %{}, context: context)
        :ok = Context.close(context)
        answer
      end)

      assert go_on(asking(fn -> run!(pool, "await erlang.acall('in_context')") end)) == 42
      await_nothing_left(pool)
    end

    test "if the main thread waits for an executor that was there before" do
      pool = start_pool(workers: 1)
      register_ask(pool)

      run!(pool, """
      import concurrent.futures
      executor = concurrent.futures.ThreadPoolExecutor(1)
      executor.submit(int).result()
      """)

      code = "executor.submit(erlang.call, 'ask').result()"
      assert go_on(asking(fn -> run!(pool, code) end)) == 42
    end

    test "if the last worker drains, and has a shared context" do
      pool = start_pool(workers: 1)
      {:ok, _context} = Context.open(pool: pool, mode: :shared)
      test = self()

      # Nobody watches it.
      server =
        spawn_link(fn ->
          receive do: ({:ask, from} -> send(from, {:got, run!(pool, "21 * 2")}))
        end)

      register(:ask, fn ->
        send(test, {:asked, self()})
        receive do: (:go -> send(server, {:ask, self()}))
        receive do: ({:got, answer} -> answer)
      end)

      asking = asking(fn -> run!(pool, "erlang.ask()") end)
      restart = restarting(pool)
      assert go_on(asking) == 42
      assert Task.await(restart, 60_000) == :ok
    end

    test "if the last worker drains, and waits for the reader of its stream" do
      pool = start_pool(workers: 1, max_requests: 4)

      roots =
        "iter(range(8))"
        |> ErlangPython.stream_eval(%{}, pool: pool)
        |> Enum.map(&ErlangPython.call(:math, :sqrt, [&1 * &1], pool: pool))

      assert roots == for(n <- 0..7, do: {:ok, n * 1.0})
      await_nothing_left(pool)
    end

    @tag :tmp_dir
    test "if another worker does not start", %{tmp_dir: dir} do
      broken = Path.join(dir, "broken")
      code = "import os\nif os.path.exists(#{inspect(broken)}): raise ValueError"
      pool = start_pool(workers: 2, preload: [{:code, code}])
      register_ask(pool)
      caller = asking(fn -> run!(pool, "erlang.ask()") end)
      File.touch!(broken)
      [idle] = for %{state: :idle, os_pid: os_pid} <- Pool.workers(pool), do: os_pid
      {_output, 0} = System.cmd("kill", ["-KILL", "#{idle}"])
      eventually(fn -> assert %{starting: 1} = Pool.stats(pool) end)
      assert go_on(caller) == 42
      File.rm!(broken)
      await_whole(pool, 2)
    end

    for {where, code} <- [
          {"its main thread", "out = erlang.ask()"},
          {"a coroutine", "out = await erlang.acall('ask')"},
          {"a thread",
           "from concurrent.futures import ThreadPoolExecutor\nout = ThreadPoolExecutor(1).submit(erlang.ask).result()"},
          {"a stream", "def items():\n yield 0\n yield erlang.ask()\nout = items()"},
          {"an asynchronous stream",
           "async def items():\n yield 0\n yield await erlang.acall('ask')\nout = items()"}
        ] do
      test "if the last worker drains, in whose callback from #{where} it is asked" do
        stream? = unquote(where) =~ "stream"
        defined = if stream?, do: [code: "import erlang\n" <> unquote(code)], else: []
        pool = start_pool(workers: 1, preload: defined)
        register_ask(pool)

        caller =
          asking(fn ->
            if stream?,
              do: "items()" |> ErlangPython.stream_eval(%{}, pool: pool) |> Enum.at(1),
              else: run!(pool, unquote(code) <> "\nout")
          end)

        restart = restarting(pool)
        assert go_on(caller) == 42
        assert Task.await(restart, :infinity) == :ok
        await_nothing_left(pool)
      end
    end

    test "if another worker is about to end" do
      pool = start_pool(workers: 2)
      register_ask(pool)
      caller = asking(fn -> run!(pool, "erlang.ask()") end)
      # It keeps the idle worker, which is replaced first or second.
      stream = ErlangPython.stream(:builtins, :range, [9], pool: pool)

      {:suspended, 0, continue} =
        Enumerable.reduce(stream, {:cont, nil}, fn item, _ -> {:suspend, item} end)

      :ok = Pool.scale(pool, 1)
      restart = restarting(pool)
      assert go_on(caller) == 42
      {:halted, _} = continue.({:halt, nil})
      assert Task.await(restart, :infinity) == :ok
    end

    test "if the pool is smaller now, and the last of its workers still drains" do
      pool = start_pool(workers: 3)
      register_ask(pool)

      callers =
        for _ <- 1..3, do: asking(fn -> run!(pool, "import os\n[os.getpid(), erlang.ask()]") end)

      pids = for %{os_pid: os_pid} <- Pool.workers(pool), do: os_pid
      :ok = Pool.scale(pool, 1)

      [first, second, third] =
        Enum.sort_by(callers, fn {%{pid: caller}, _callback} -> slot_of(pool, caller) end)

      assert go_on(second, :leave) == [Enum.at(pids, 1), 0]
      eventually(fn -> assert Directory.worker(handle(pool), 2) == nil end)
      assert go_on(first) == [hd(pids), 42]
      assert go_on(third, :leave) == [List.last(pids), 0]
      eventually(fn -> assert %{workers: 1, idle: 1} = Pool.stats(pool) end)
    end
  end

  defp slot_of(pool, caller) do
    [id] = Pending.of_caller(handle(pool), caller)
    {_caller, slot, _pinned?} = Pending.standing(handle(pool), id)
    slot
  end

  test "is not served by a worker that is set aside if no callback of it waits for it" do
    pool = start_pool(workers: 1)
    {:ok, handle} = Handle.fetch(pool)
    {:ok, context} = Context.open(pool: pool, mode: :dedicated)
    register_ask(pool)

    inside = asking(fn -> ErlangPython.run!("erlang.ask()", %{}, context: context) end)
    queued = Task.async(fn -> run!(pool, "2") end)
    eventually(fn -> assert Slots.queued(handle) == 1 end)
    [id] = Pending.of_caller(handle, queued.pid)
    [running] = Pending.of_caller(handle, elem(inside, 0).pid)

    eventually(fn ->
      now = System.monotonic_time(:microsecond)
      assert now - Pending.sent_at(handle, running, now) > 100_000
    end)

    Intake.Stuck.reconsider(handle, id)
    assert {_caller, 0, _pinned?} = Pending.standing(handle, id)

    assert go_on(inside, :leave) == 0
    :ok = Context.close(context)
    assert Task.await(queued) == 2
  end

  test "is told that there is no worker for a context, if the only one drains and waits for it" do
    pool = start_pool(workers: 1)

    register_ask(pool, fn pool ->
      {:error, error} = Context.open(pool: pool)
      error.kind
    end)

    caller = asking(fn -> run!(pool, "erlang.ask()") end)
    restart = restarting(pool)
    assert go_on(caller) == :no_workers
    assert Task.await(restart, :infinity) == :ok
  end
end
