defmodule ErlangPython.ContextTest do
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.Context
  alias ErlangPython.Pool.{Handle, Slots}

  defp open!(pool, mode \\ :dedicated) do
    {:ok, context} = Context.open(pool: pool, mode: mode)
    context
  end

  defp exec!(code, context), do: ErlangPython.exec!(code, %{}, context: context)
  defp eval(code, context), do: ErlangPython.eval(code, %{}, context: context)

  for mode <- [:dedicated, :shared] do
    describe "a #{mode} context" do
      setup do
        pool = start_pool(workers: 2)
        {:ok, pool: pool, context: open!(pool, unquote(mode))}
      end

      test "keeps names, of functions and classes too", %{context: context} do
        exec!("def double(n): return 2 * n * factor\nclass A: pass\nfactor = 3", context)
        assert ErlangPython.call(:__main__, :double, [7], context: context) == {:ok, 42}
        assert eval("A.__module__, double(1)", context) == {:ok, {"__main__", 6}}

        assert ErlangPython.run("import pickle\ntype(pickle.loads(pickle.dumps(A()))) is A", %{},
                 context: context
               ) == {:ok, true}

        assert ErlangPython.stream(:builtins, :range, [3], context: context) |> Enum.to_list() ==
                 [0, 1, 2]

        assert ErlangPython.stream_eval("(x * factor for x in [1, 2])", %{}, context: context)
               |> Enum.to_list() == [3, 6]

        assert ErlangPython.run(
                 "import asyncio\nawait asyncio.sleep(0)\nfactor += 1\nfactor",
                 %{},
                 context: context
               ) == {:ok, 4}

        assert eval("factor", context) == {:ok, 4}
      end

      test "shares nothing with others", %{pool: pool, context: context} do
        exec!("x = 1", context)
        ErlangPython.exec!("y = 1", %{}, pool: pool)
        other = open!(pool, :shared)
        assert {:error, %Error{type: "NameError"}} = eval("x", other)
        assert {:error, %Error{type: "NameError"}} = eval("y", context)
        assert {:error, %Error{type: "NameError"}} = ErlangPython.eval("x", %{}, pool: pool)

        assert {:error, %Error{type: "AttributeError"}} =
                 ErlangPython.call(:__main__, :x, [], pool: pool)
      end

      test "is closed once, and then says so", %{pool: pool, context: context} do
        exec!("x = 1", context)
        assert Context.alive?(context)
        assert Context.close(context) == :ok
        assert Context.close(context) == :ok
        refute Context.alive?(context)
        assert {:error, %Error{kind: :context_closed, executed: :no}} = eval("x", context)
        await_whole(pool, 2)
        # What it had is gone, from both workers.
        for _ <- 1..2,
            context = open!(pool),
            do: assert({:error, %Error{type: "NameError"}} = eval("x", context))
      end

      test "is lost with its worker, and never comes back empty", %{pool: pool, context: context} do
        exec!("x = 1", context)
        {:ok, os_pid} = eval("__import__('os').getpid()", context)
        other = Enum.find(Pool.workers(pool), &(&1.os_pid != os_pid))
        System.cmd("kill", ["-KILL", "#{other.os_pid}"])
        eventually(fn -> refute os_process?(other.os_pid) end)
        assert eval("x", context) == {:ok, 1}
        assert {:error, %Error{kind: :worker_exit}} = eval("__import__('os')._exit(1)", context)
        assert {:error, %Error{kind: :context_lost, executed: :no}} = eval("x", context)
        refute Context.alive?(context)
        assert Context.close(context) == :ok
        assert {:error, %Error{kind: :context_closed}} = eval("x", context)
        await_whole(pool, 2)
      end

      test "closes when its owner dies, whatever runs in it", %{pool: pool, context: context} do
        Context.close(context)
        test = self()

        {pid, ref} =
          spawn_monitor(fn ->
            context = open!(pool, unquote(mode))
            send(test, {:context, context})

            ErlangPython.run(
              "import time\nerlang.send(test, 'in')\ntime.sleep(60)",
              %{test: test},
              context: context
            )
          end)

        assert_receive {:context, context}, 10_000
        assert_receive "in", 10_000
        Process.exit(pid, :kill)
        assert_receive {:DOWN, ^ref, :process, ^pid, :killed}
        eventually(fn -> refute Context.alive?(context) end)
        await_whole(pool, 2)
      end

      test "a callback's own calls stay in it", %{context: context} do
        name = "context_test_#{System.unique_integer([:positive])}"
        ErlangPython.register(name, fn -> ErlangPython.eval!("x + 1", %{}, context: context) end)
        exec!("x = 1", context)
        assert eval("erlang.call('#{name}')", context) == {:ok, 2}
        ErlangPython.unregister(name)
      end

      test "a timeout in it stops Python and leaves the names", %{context: context} do
        exec!("x = 1", context)

        assert {:error, %Error{kind: :timeout}} =
                 ErlangPython.run("while True: pass", %{}, context: context, timeout: 100)

        assert eval("x", context) == {:ok, 1}
      end
    end
  end

  describe "dedicated" do
    test "sets a worker aside; a pool without any left says so" do
      pool = start_pool(workers: 2)
      first = open!(pool)
      assert %{bound: 1, idle: 1} = Pool.stats(pool)
      {:ok, aside} = eval("__import__('os').getpid()", first)

      for _ <- 1..20,
          do: refute(ErlangPython.eval!("__import__('os').getpid()", %{}, pool: pool) == aside)

      second = open!(pool)
      assert {:error, %Error{kind: :no_workers, executed: :no}} = Context.open(pool: pool)
      assert {:error, %Error{kind: :no_workers}} = Context.open(pool: pool, mode: :shared)

      # Plain calls wait for a worker.
      assert {:error, %Error{kind: :timeout, executed: :no}} =
               ErlangPython.eval("1", %{}, pool: pool, timeout: 100)

      waiting = Task.async(fn -> ErlangPython.eval("1", %{}, pool: pool) end)
      eventually(fn -> assert %{queued: 1} = Pool.stats(pool) end)
      Context.close(second)
      assert Task.await(waiting) == {:ok, 1}
      Context.close(first)
      await_whole(pool, 2)
    end
  end

  test "a restart loses contexts, and says so" do
    pool = start_pool(workers: 2)
    contexts = [open!(pool), open!(pool, :shared)]
    Enum.each(contexts, &exec!("x = 1", &1))
    assert Pool.restart(pool) == :ok

    for context <- contexts,
        do: assert({:error, %Error{kind: :context_lost}} = eval("x", context))

    await_whole(pool, 2)
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
    {:ok, handle} = ErlangPython.Pool.Handle.fetch(pool)
    eventually(fn -> assert :ets.info(handle.contexts, :size) == 0 end)
  end

  test "ten thousand shared contexts in two workers" do
    pool = start_pool(workers: 2)
    contexts = for n <- 1..10_000, do: {n, open!(pool, :shared)}
    for {n, context} <- contexts, do: exec!("n = #{n}", context)
    for {n, context} <- contexts, rem(n, 100) == 0, do: assert(eval("n", context) == {:ok, n})
    for {_n, context} <- contexts, do: Context.close(context)
    await_whole(pool, 2)
    # Namespaces, without that of the process, which is not looked at.
    none_left = {:ok, %{1 => {:ok, 0}, 2 => {:ok, 0}}}

    code =
      "sum(type(o) is dict and '__loader__' in o and 'n' in o for o in __import__('gc').get_objects())"

    eventually(fn -> assert Pool.broadcast(pool, {:eval, code}) == none_left end)
  end

  test "the death of a caller is not looked up in all contexts of others" do
    pool = start_pool(workers: 2)
    {:ok, handle} = ErlangPython.Pool.Handle.fetch(pool)
    callers = ErlangPython.Pool.Directory.whereis(handle, :callers)

    # What the process that watches callers has to do for 50 of them.
    reductions = fn ->
      :sys.get_state(callers)
      {:reductions, before} = Process.info(callers, :reductions)
      tasks = for _ <- 1..50, do: Task.async(fn -> ErlangPython.eval!("1", %{}, pool: pool) end)
      Task.await_many(tasks)
      eventually(fn -> refute Enum.any?(tasks, &:ets.member(handle.callers, &1.pid)) end)
      :sys.get_state(callers)
      {:reductions, now} = Process.info(callers, :reductions)
      now - before
    end

    without = reductions.()
    contexts = for _ <- 1..3_000, do: open!(pool, :shared)
    assert reductions.() < 3 * without
    Enum.each(contexts, &Context.close/1)
    assert :ets.info(handle.contexts, :size) == 0
    await_whole(pool, 2)
  end

  test "what a closed context has held is freed, functions and all" do
    pool = start_pool(workers: 1)
    memory = fn -> hd(Pool.workers(pool)).memory end
    before = memory.()

    for mode <- [:dedicated, :shared], _ <- 1..20 do
      context = open!(pool, mode)
      # A function keeps its namespace, and that the function.
      exec!("def f(): return big\nbig = b'x' * 20_000_000", context)
      Context.close(context)
    end

    eventually(fn -> assert memory.() - before < 100_000_000 end)
  end

  describe "with :max_requests" do
    defp calls(context, count),
      do: for(_ <- 1..count, do: ErlangPython.call!(:os, :getpid, [], context: context))

    test "requests of contexts count, and the worker goes when its context has closed" do
      pool = start_pool(workers: 1, max_requests: 10)

      for mode <- [:dedicated, :shared] do
        context = open!(pool, mode)
        exec!("kept = 1", context)
        assert [pid] = context |> calls(30) |> Enum.uniq()
        assert eval("kept", context) == {:ok, 1}
        Context.close(context)
        eventually(fn -> refute os_process?(pid) end)
        await_whole(pool, 1)
      end
    end

    test "one context after another: the worker is replaced now and then" do
      pool = start_pool(workers: 1, max_requests: 10)

      pids =
        for _ <- 1..10 do
          ErlangPython.with_context(fn context -> hd(calls(context, 5)) end, pool: pool)
        end

      assert length(Enum.uniq(pids)) in 3..6
      await_whole(pool, 1)
    end

    test "plain calls don't take a worker from under its contexts" do
      pool = start_pool(workers: 1, max_requests: 10)
      {first, second} = {open!(pool, :shared), open!(pool, :shared)}
      exec!("kept = 1", first)
      [pid | _] = pids = for _ <- 1..30, do: ErlangPython.call!(:os, :getpid, [], pool: pool)
      assert Enum.uniq(pids) == [pid]
      Context.close(second)
      assert eval("kept", first) == {:ok, 1}
      Context.close(first)
      eventually(fn -> refute os_process?(pid) end)
      await_whole(pool, 1)
    end

    test "new contexts go elsewhere as long as there is a worker with requests left" do
      pool = start_pool(workers: 2, max_requests: 10)
      old = open!(pool, :shared)
      [pid | _] = calls(old, 10)
      new = for _ <- 1..5, do: open!(pool, :shared)
      assert new |> Enum.flat_map(&calls(&1, 1)) |> Enum.member?(pid) == false

      # When all have had their number, one of them gets the new ones, so that the other comes to its end.
      for context <- new, do: calls(context, 2)
      one = for _ <- 1..3, do: open!(pool, :shared)
      assert [_one_worker] = one |> Enum.flat_map(&calls(&1, 1)) |> Enum.uniq()
      Enum.each([old | new ++ one], &Context.close/1)
      eventually(fn -> refute os_process?(pid) end)
      await_whole(pool, 2)
    end

    test "streams that are opened in a context count too, each as one" do
      pool = start_pool(workers: 1, max_requests: 3)
      context = open!(pool)
      [pid] = calls(context, 1)
      stream = ErlangPython.stream(:builtins, :range, [20_000], context: context)
      assert Enum.count(stream) == 20_000
      assert [%{requests: 2}] = Pool.workers(pool)
      assert Enum.count(stream) == 20_000
      assert calls(context, 1) == [pid]
      Context.close(context)
      eventually(fn -> refute os_process?(pid) end)
      await_whole(pool, 1)
    end
  end

  describe "binding" do
    test "sends a process's calls to its context" do
      pool = start_pool(workers: 2)
      refute ErlangPython.bound?()
      assert ErlangPython.bind(pool: pool) == :ok
      assert ErlangPython.bind(pool: pool) == :ok
      assert ErlangPython.bound?()
      assert ErlangPython.exec("bound_x = 1") == :ok
      assert ErlangPython.eval("bound_x") == {:ok, 1}
      assert Task.await(ErlangPython.async(:__main__, "bound_x.__add__", [1])) == {:ok, 2}
      assert ErlangPython.stream_eval("[bound_x]") |> Enum.to_list() == [1]
      # Another process is not bound, and another pool is another pool.
      refute Task.await(Task.async(&ErlangPython.bound?/0))
      elsewhere = ErlangPython.eval("bound_x", %{}, pool: :default)
      assert {:error, %Error{type: "NameError"}} = elsewhere
      assert ErlangPython.unbind() == :ok
      assert ErlangPython.unbind() == :ok
      refute ErlangPython.bound?()
      await_whole(pool, 2)
    end

    test "with_context nests, and unbinds whatever happens" do
      pool = start_pool(workers: 2)

      assert ErlangPython.with_context(
               fn outer ->
                 ErlangPython.exec!("x = 'outer'")

                 inner =
                   ErlangPython.with_context(
                     fn ->
                       ErlangPython.exec!("x = 'inner'")
                       {ErlangPython.eval!("x"), ErlangPython.eval!("x", %{}, context: outer)}
                     end,
                     pool: pool
                   )

                 {inner, ErlangPython.eval!("x")}
               end,
               pool: pool
             ) == {{"inner", "outer"}, "outer"}

      assert_raise RuntimeError, "boom", fn ->
        ErlangPython.with_context(fn -> raise "boom" end, pool: pool)
      end

      refute ErlangPython.bound?()
      await_whole(pool, 2)
    end
  end

  test "wrong options and contexts are refused" do
    assert_raise ArgumentError, ~r/unknown option :mod/, fn -> Context.open(mod: 1) end
    assert_raise ArgumentError, ~r/:dedicated or :shared/, fn -> Context.open(mode: :other) end

    assert_raise ArgumentError, ~r/ErlangPython.Context/, fn ->
      ErlangPython.eval("1", %{}, context: 1)
    end

    assert {:error, %Error{kind: :no_pool}} = Context.open(pool: :no_such_pool)
    assert_raise ArgumentError, ~r/ErlangPython.Context, got: nil/, fn -> Context.close(nil) end
    assert_raise ArgumentError, ~r/ErlangPython.Context, got: 1/, fn -> Context.alive?(1) end
    assert_raise ArgumentError, ~r/of the context/, fn -> ErlangPython.with_context(1) end
  end
end
