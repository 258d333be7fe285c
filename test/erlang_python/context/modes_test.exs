defmodule ErlangPython.Context.ModesTest do
  # What holds in dedicated and in shared contexts, and what a dedicated one takes from its pool.
  use ErlangPython.PoolCase, async: true

  import ErlangPython.TestContexts

  alias ErlangPython.Context

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
        name = "context_modes_#{System.unique_integer([:positive])}"
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

  @tag :tmp_dir
  test "who asks for one waits for a worker that starts as long as it is told to", %{tmp_dir: dir} do
    gate = gate(dir)
    code = "started, go = #{inspect(gate.started)}, #{inspect(gate.go)}\n" <> gated()
    pool = start_pool(workers: 1, lazy: true, preload: [{:code, code}])
    await_file(gate.started)
    waiting = Task.async(fn -> Context.open(pool: pool, timeout: :infinity) end)

    assert {:error, %Error{kind: :timeout, executed: :no} = error} =
             Context.open(pool: pool, timeout: 50)

    assert error.message =~ "importing what :preload names"
    File.touch!(gate.go)
    assert {:ok, %Context{}} = Task.await(waiting)
    # The task's has closed with it, and there is no other.
    await_whole(pool, 1)
    assert {:messages, []} = Process.info(self(), :messages)
  end

  test "wrong options and contexts are refused" do
    assert_raise ArgumentError, ~r/unknown option :mod/, fn -> Context.open(mod: 1) end
    assert_raise ArgumentError, ~r/timeout of mill/, fn -> Context.open(timeout: -1) end
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
