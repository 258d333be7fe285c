defmodule ErlangPython.Nesting.ServersTest do
  # A process of which nobody knows for whom it works, as a server that callbacks ask, calls into a pool whose workers wait.
  use ErlangPython.CallbackCase, async: false

  alias ErlangPython.Context
  alias ErlangPython.Pool.{Directory, Handle, Intake, Pending, Slots}

  for window <- [:auto, 16] do
    test "is served by a pool whose workers, with a window of #{window}, all wait" do
      pool = start_pool(workers: 2, window: unquote(window))

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
  end

  test "is served if the others are set aside for contexts" do
    pool = start_pool(workers: 3)
    server = start_supervised!({Agent, fn -> nil end})
    contexts = for _ <- 1..2, do: Context.open(pool: pool, mode: :dedicated)

    register(:ask, fn ->
      Agent.get(server, fn nil -> run!(pool, "21 * 2") end, :infinity)
    end)

    assert run!(pool, "erlang.ask()") == 42
    for {:ok, context} <- contexts, do: :ok = Context.close(context)
    await_nothing_left(pool)
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
    test "is served if the last worker drains, in whose callback from #{where} it is asked" do
      defined =
        if unquote(where) =~ "stream", do: [code: "import erlang\n" <> unquote(code)], else: []

      pool = start_pool(workers: 1, preload: defined)
      test = self()
      server = start_supervised!({Agent, fn -> nil end})

      register(:ask, fn ->
        send(test, {:asked, self()})
        receive do: (:go -> Agent.get(server, fn nil -> run!(pool, "21 * 2") end, :infinity))
      end)

      caller =
        Task.async(fn ->
          if unquote(where) =~ "stream",
            do: "items()" |> ErlangPython.stream_eval(%{}, pool: pool) |> Enum.at(1),
            else: run!(pool, unquote(code) <> "\nout")
        end)

      assert_receive {:asked, callback}
      restart = Task.async(fn -> Pool.restart(pool) end)
      eventually(fn -> assert [%{state: :draining}] = Pool.workers(pool) end)
      send(callback, :go)
      assert Task.await(caller, :infinity) == 42
      assert Task.await(restart, :infinity) == :ok
      await_nothing_left(pool)
    end
  end

  test "is served if the last worker is set aside for a context that a coroutine's callback has opened" do
    pool = start_pool(workers: 1)
    server = start_supervised!({Agent, fn -> nil end})

    register(:ask, fn -> Agent.get(server, fn nil -> run!(pool, "21 * 2") end, :infinity) end)

    register(:in_context, fn ->
      {:ok, context} = Context.open(pool: pool, mode: :dedicated)
      answer = ErlangPython.run!("erlang.ask()", %{}, context: context)
      :ok = Context.close(context)
      answer
    end)

    assert run!(pool, "await erlang.acall('in_context')") == 42
    await_nothing_left(pool)
  end

  test "is served if the pool is smaller now, and the last of its workers still drains" do
    pool = start_pool(workers: 3)
    test = self()
    server = start_supervised!({Agent, fn -> nil end})

    register(:ask, fn ->
      send(test, {:asked, self()})

      receive do
        :go -> Agent.get(server, fn nil -> run!(pool, "21 * 2") end, :infinity)
        :leave -> 0
      end
    end)

    callers =
      for _ <- 1..3 do
        caller = Task.async(fn -> run!(pool, "import os\n[os.getpid(), erlang.ask()]") end)
        assert_receive {:asked, callback}
        {caller, callback}
      end

    pids = for %{os_pid: os_pid} <- Pool.workers(pool), do: os_pid
    :ok = Pool.scale(pool, 1)
    # By the slots of their workers.
    [first, second, third] =
      Enum.sort_by(callers, fn {%{pid: caller}, _callback} -> slot_of(pool, caller) end)

    {caller, callback} = second
    send(callback, :leave)
    assert Task.await(caller) == [Enum.at(pids, 1), 0]
    eventually(fn -> assert Directory.worker(handle(pool), 2) == nil end)
    {caller, callback} = first
    send(callback, :go)
    assert Task.await(caller, :infinity) == [hd(pids), 42]
    {caller, callback} = third
    send(callback, :leave)
    assert Task.await(caller) == [List.last(pids), 0]
    eventually(fn -> assert %{workers: 1, idle: 1} = Pool.stats(pool) end)
  end

  defp slot_of(pool, caller) do
    [id] = Pending.of_caller(handle(pool), caller)
    {_caller, slot, _pinned?} = Pending.standing(handle(pool), id)
    slot
  end

  test "is told that there is no worker for a context, if the only one drains and waits for it" do
    pool = start_pool(workers: 1)
    test = self()
    server = start_supervised!({Agent, fn -> nil end})

    register(:ask, fn ->
      send(test, {:asked, self()})
      receive do: (:go -> :ok)
      {:error, error} = Agent.get(server, fn nil -> Context.open(pool: pool) end, :infinity)
      error.kind
    end)

    caller = Task.async(fn -> run!(pool, "erlang.ask()") end)
    assert_receive {:asked, callback}
    restart = Task.async(fn -> Pool.restart(pool) end)
    eventually(fn -> assert [%{state: :draining}] = Pool.workers(pool) end)
    send(callback, :go)
    assert Task.await(caller, 20_000) == :no_workers
    assert Task.await(restart, :infinity) == :ok
  end

  test "is not served by a worker that is set aside if no callback of it waits for it" do
    pool = start_pool(workers: 1)
    {:ok, handle} = Handle.fetch(pool)
    {:ok, context} = Context.open(pool: pool, mode: :dedicated)
    test = self()

    register(:hold, fn ->
      send(test, {:holds, self()})
      receive do: (:go -> 1)
    end)

    inside = Task.async(fn -> ErlangPython.run!("erlang.hold()", %{}, context: context) end)
    assert_receive {:holds, callback}
    queued = Task.async(fn -> run!(pool, "2") end)
    eventually(fn -> assert Slots.queued(handle) == 1 end)
    [id] = Pending.of_caller(handle, queued.pid)
    [running] = Pending.of_caller(handle, inside.pid)

    eventually(fn ->
      now = System.monotonic_time(:microsecond)
      assert now - Pending.sent_at(handle, running, now) > 100_000
    end)

    Intake.Stuck.reconsider(handle, id)
    assert {_caller, 0, _pinned?} = Pending.standing(handle, id)

    send(callback, :go)
    assert Task.await(inside) == 1
    :ok = Context.close(context)
    assert Task.await(queued) == 2
  end

  describe "is served" do
    setup do
      server = start_supervised!({Agent, fn -> nil end})
      test = self()

      {:ok,
       register: fn pool ->
         register(:ask, fn ->
           send(test, {:in, self()})
           receive do: (:go -> :ok)
           Agent.get(server, fn nil -> run!(pool, "21 * 2") end, :infinity)
         end)
       end}
    end

    @tag :tmp_dir
    test "if another worker does not start", %{register: register, tmp_dir: dir} do
      broken = Path.join(dir, "broken")
      code = "import os\nif os.path.exists(#{inspect(broken)}): raise ValueError"
      pool = start_pool(workers: 2, preload: [{:code, code}])
      register.(pool)
      caller = Task.async(fn -> run!(pool, "erlang.ask()") end)
      assert_receive {:in, callback}
      File.touch!(broken)
      [idle] = for %{state: :idle, os_pid: os_pid} <- Pool.workers(pool), do: os_pid
      {_output, 0} = System.cmd("kill", ["-KILL", "#{idle}"])
      eventually(fn -> assert %{starting: 1} = Pool.stats(pool) end)
      send(callback, :go)
      assert Task.await(caller, 30_000) == 42
      File.rm!(broken)
      await_whole(pool, 2)
    end

    test "if a coroutine waits whose worker is set aside for its context", %{register: register} do
      pool = start_pool(workers: 1)
      register.(pool)
      {:ok, context} = Context.open(pool: pool, mode: :dedicated)
      code = "import erlang\nawait erlang.acall('ask')"
      run = fn -> ErlangPython.run!(code, %{}, context: context) end
      caller = Task.async(run)
      assert_receive {:in, callback}
      send(callback, :go)
      assert Task.await(caller, 20_000) == 42
      Context.close(context)
    end

    test "if the main thread waits for an executor that was there before", %{register: register} do
      pool = start_pool(workers: 1)
      register.(pool)

      run!(pool, """
      import concurrent.futures
      executor = concurrent.futures.ThreadPoolExecutor(1)
      executor.submit(int).result()
      """)

      code = "executor.submit(erlang.call, 'ask').result()"
      caller = Task.async(fn -> run!(pool, code) end)
      assert_receive {:in, callback}
      send(callback, :go)
      assert Task.await(caller, 20_000) == 42
    end

    test "if another worker is about to end", %{register: register} do
      pool = start_pool(workers: 2)
      register.(pool)
      caller = Task.async(fn -> run!(pool, "erlang.ask()") end)
      assert_receive {:in, callback}
      # It keeps the idle worker, which is replaced first or second.
      stream = ErlangPython.stream(:builtins, :range, [9], pool: pool)

      {:suspended, 0, continue} =
        Enumerable.reduce(stream, {:cont, nil}, fn item, _ -> {:suspend, item} end)

      :ok = Pool.scale(pool, 1)
      restart = Task.async(fn -> Pool.restart(pool) end)
      eventually(fn -> assert [%{state: :draining}, %{state: :draining}] = Pool.workers(pool) end)
      send(callback, :go)
      assert Task.await(caller, 20_000) == 42
      {:halted, _} = continue.({:halt, nil})
      assert Task.await(restart, 30_000) == :ok
    end
  end
end
