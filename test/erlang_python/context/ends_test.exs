defmodule ErlangPython.Context.EndsTest do
  # Contexts that are lost with their workers or pools, closed, or not opened, and what they leave.
  use ErlangPython.PoolCase, async: true

  import ErlangPython.TestContexts

  alias ErlangPython.Context
  alias ErlangPython.Pool.{Directory, Handle, Slots}

  test "a restart loses contexts, and says so" do
    pool = start_pool(workers: 2)
    contexts = [open!(pool), open!(pool, :shared)]
    Enum.each(contexts, &exec!("x = 1", &1))
    assert Pool.restart(pool) == :ok

    for context <- contexts,
        do: assert({:error, %Error{kind: :context_lost}} = eval("x", context))

    await_whole(pool, 2)
  end

  @tag :tmp_dir
  test "a request that waits when its worker dies has not run", %{tmp_dir: dir} do
    pool = start_pool(workers: 1)
    context = open!(pool, :shared)
    ref = ErlangPython.eval!("[1]", %{}, pool: pool, return: :ref)
    gate = gate(dir)
    running = Task.async(fn -> ErlangPython.exec(gated(), gate, context: context) end)
    await_file(gate.started)

    waiting = [
      Task.async(fn -> eval("1", context) end),
      Task.async(fn -> ErlangPython.call(:builtins, :len, [ref]) end)
    ]

    eventually(fn -> assert %{in_flight: 3} = Pool.stats(pool) end)
    [%{os_pid: os_pid}] = Pool.workers(pool)
    {_output, 0} = System.cmd("kill", ["-9", "#{os_pid}"])
    assert {:error, %Error{kind: :worker_exit, executed: :maybe}} = Task.await(running)

    assert [{:error, in_context}, {:error, with_ref}] = Task.await_many(waiting)
    assert %Error{kind: :context_lost, executed: :no} = in_context
    assert in_context.message =~ "held this context has ended"
    assert %Error{kind: :context_lost, executed: :no} = with_ref
    assert with_ref.message =~ "object of this Ref has ended"
  end

  test "opening does not wait for a worker that itself waits for it" do
    pool = start_pool(workers: 1)
    {:ok, handle} = Handle.fetch(pool)

    :ok =
      ErlangPython.register(pool, fn ->
        restart = Task.async(fn -> Pool.restart(pool) end)
        eventually(fn -> assert Slots.window(handle, 1) == 0 end)
        # A task of the callback is waited for as the callback is.
        opened = Task.await(Task.async(fn -> Context.open(pool: pool) end), 30_000)
        {:error, %Error{kind: kind}} = opened
        # Its link would end it with the callback.
        Process.unlink(restart.pid)
        kind
      end)

    on_exit(fn -> ErlangPython.unregister(pool) end)

    assert ErlangPython.run("import erlang\nerlang.call('#{pool}')", %{}, pool: pool) ==
             {:ok, :no_workers}

    await_whole(pool, 1)
    assert {:ok, context} = Context.open(pool: pool)
    Context.close(context)
  end

  test "nor for one that does so by way of a process that nobody knows, and of another worker" do
    pool = start_pool(workers: 2)
    test = self()

    # A callback of the worker that is to be replaced waits for a process, that for a request in the other worker, and
    # that for its callback, which opens a context.
    open = fn -> Context.open(pool: pool, mode: :shared) |> elem(1) |> Map.get(:kind) end

    ask = fn ->
      {_stranger, ref} =
        spawn_monitor(fn ->
          Process.delete(:"$callers")
          {:ok, context} = Context.open(pool: pool)
          exit({:got, ErlangPython.eval!("open()", %{open: open}, context: context)})
        end)

      receive do: ({:DOWN, ^ref, _, _, {:got, kind}} -> kind)
    end

    wait = fn ->
      send(test, {:waits, self()})
      receive do: (:go -> ask.())
    end

    asking = Task.async(fn -> ErlangPython.eval("wait()", %{wait: wait}, pool: pool) end)
    assert_receive {:waits, callback}
    restart = Task.async(fn -> Pool.restart(pool) end)

    eventually(fn ->
      states = for %{state: state} <- Pool.workers(pool), do: state
      assert Enum.sort(states) == [:draining, :idle]
    end)

    send(callback, :go)
    assert Task.await(asking, 30_000) == {:ok, :no_workers}
    assert Task.await(restart, 30_000) == :ok
    await_whole(pool, 2)
  end

  test "nor any longer for one that comes to wait for it" do
    pool = start_pool(workers: 1)
    test = self()
    server = start_supervised!({Agent, fn -> nil end})

    wait = fn ->
      send(test, {:waits, self()})
      receive do: (:go -> Agent.get(server, & &1, :infinity))
    end

    asking = Task.async(fn -> ErlangPython.eval("wait()", %{wait: wait}, pool: pool) end)
    assert_receive {:waits, callback}
    restart = Task.async(fn -> Pool.restart(pool) end)
    eventually(fn -> assert [%{state: :draining}] = Pool.workers(pool) end)

    # It waits for the worker to be replaced, which nothing keeps from that yet.
    Agent.cast(server, fn nil -> Context.open(pool: pool) |> elem(1) |> Map.get(:kind) end)
    manager = Directory.whereis(handle(pool), :manager)
    eventually(fn -> assert [_opener] = :sys.get_state(manager).waiting.context end)

    send(callback, :go)
    assert Task.await(asking, 30_000) == {:ok, :no_workers}
    assert Task.await(restart, 30_000) == :ok
    await_whole(pool, 1)
  end

  test "opening waits for a worker that is started again, having died before it served" do
    pool = start_pool(workers: 1)
    [%{os_pid: os_pid}] = Pool.workers(pool)
    {_output, 0} = System.cmd("kill", ["-9", "#{os_pid}"])
    eventually(fn -> refute match?([%{os_pid: ^os_pid}], Pool.workers(pool)) end)
    assert {:ok, context} = Context.open(pool: pool)
    Context.close(context)
  end

  # Wherever that happens in the course of it: which is why this has many rounds.
  test "a process that is killed while it closes its context leaves nothing of it" do
    pool = start_pool(workers: 1)
    handle = handle(pool)
    test = self()

    for round <- 1..400 do
      {pid, ref} =
        spawn_monitor(fn ->
          context = open!(pool, :shared)
          send(test, {:open, self()})
          Enum.each(1..(round * 5), fn _ -> :ok end)
          Context.close(context)
        end)

      assert_receive {:open, ^pid}
      Process.exit(pid, :kill)
      assert_receive {:DOWN, ^ref, _, _, _}
    end

    eventually(fn ->
      assert :ets.info(handle.contexts, :size) == 0
      assert Slots.contexts(handle, 1) == 0
    end)
  end

  test "a worker that restarts after it had contexts is starting, and not theirs" do
    pool = start_pool(workers: 1, preload: [code: "import time; time.sleep(1)"])
    context = open!(pool, :shared)
    {:error, %Error{kind: :worker_exit}} = eval("__import__('os').abort()", context)

    eventually(fn ->
      assert %{starting: 1, bound: 0, idle: 0} = Pool.stats(pool)
    end)

    await_whole(pool, 1)
  end

  test "a pool that ends loses contexts, also if another one has its name then" do
    name = unique_name()
    start = fn -> Pool.start_link(name: name, workers: 2, stdout: :ignore) end
    {:ok, first} = start.()
    contexts = [open!(name), open!(name, :shared)]
    Supervisor.stop(first)

    lost = fn ->
      for context <- contexts do
        assert {:error, %Error{kind: :context_lost, executed: :no}} = eval("1", context)
        refute Context.alive?(context)
        stream = ErlangPython.stream(:builtins, :range, [1], context: context)
        assert_raise Error, ~r/ended, and its names with it/, fn -> Enum.to_list(stream) end
      end
    end

    lost.()
    {:ok, second} = start.()
    lost.()
    for context <- contexts, do: assert(Context.close(context) == :ok)
    lost.()
    # Of its own it knows which were closed.
    own = open!(name, :shared)
    Context.close(own)
    assert {:error, %Error{kind: :context_closed}} = eval("1", own)
    Supervisor.stop(second)
  end

  test "owners that are killed while they open leave no worker set aside" do
    pool = start_pool(workers: 2)

    for _ <- 1..100 do
      {:ok, pid} = Task.start(fn -> Context.open(pool: pool) end)
      Process.exit(pid, :kill)
    end

    await_whole(pool, 2)
    {:ok, handle} = Handle.fetch(pool)
    eventually(fn -> assert :ets.info(handle.contexts, :size) == 0 end)
  end

  test "what a closed context has held is freed, functions and all" do
    # Each large object gets a mapping of its own: what is freed in glibc's heap may stay with the process.
    pool = start_pool(workers: 1, env: [{"MALLOC_MMAP_THRESHOLD_", "131072"}])
    memory = fn -> hd(Pool.workers(pool)).memory end
    before = eventually(fn -> assert memory.() end)

    for mode <- [:dedicated, :shared], _ <- 1..20 do
      context = open!(pool, mode)
      # A function keeps its namespace, and that the function.
      exec!("def f(): return big\nbig = b'x' * 20_000_000", context)
      Context.close(context)
    end

    # nil while the worker does not answer.
    eventually(fn ->
      now = memory.()
      assert now && now - before < 100_000_000
    end)
  end
end
