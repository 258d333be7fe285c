defmodule ErlangPython.Nesting.BusyWorkersTest do
  # Calls of other processes than the callbacks' into pools whose workers all wait for a callback, or seem to.
  use ErlangPython.CallbackCase, async: false

  alias ErlangPython.Context
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

  for window <- [:auto, 16] do
    test "a process without callers that serves callbacks gets through a pool whose workers, with a window of #{window}, all wait" do
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

  test "so it does if the others are set aside for contexts" do
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
    test "so it does if the last worker drains, in whose callback from #{where} it is asked" do
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

  test "so it does if the last worker is set aside for a context that a coroutine's callback has opened" do
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

  test "so it does if the pool is smaller now, and the last of its workers still drains" do
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

  test "a worker that is set aside serves nobody for whom no callback of it waits" do
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

  describe "so it does" do
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

    test "if a coroutine waits whose worker is to be replaced", %{register: register} do
      pool = start_pool(workers: 1)
      register.(pool)
      caller = Task.async(fn -> run!(pool, "await erlang.acall('ask')") end)
      assert_receive {:in, callback}
      restart = Task.async(fn -> Pool.restart(pool) end)
      eventually(fn -> assert [%{state: :draining}] = Pool.workers(pool) end)
      send(callback, :go)
      assert Task.await(caller, 20_000) == 42
      assert Task.await(restart, 20_000) == :ok
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
