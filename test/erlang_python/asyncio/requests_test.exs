defmodule ErlangPython.Asyncio.RequestsTest do
  # Requests that run on a worker's event loop.
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.Pool.{Handle, Slots}

  @pool __MODULE__

  setup_all do
    start_supervised!(
      {ErlangPython.Pool,
       name: @pool, workers: 2, python: ErlangPython.TestPython.executable(), stdout: :ignore}
    )

    :ok
  end

  defp run(code, bindings \\ %{}, opts \\ []),
    do: ErlangPython.run(code, bindings, Keyword.put_new(opts, :pool, @pool))

  defp beside(pool) do
    {:ok, handle} = Handle.fetch(pool)
    for slot <- 1..Slots.count(handle), do: Slots.beside(handle, slot)
  end

  describe "a request whose value is a coroutine" do
    test "has the coroutine's result, however it came" do
      assert ErlangPython.call(:asyncio, :sleep, [0, "slept"], pool: @pool) == {:ok, "slept"}

      assert ErlangPython.eval("__import__('asyncio').sleep(0, x)", %{x: 1}, pool: @pool) ==
               {:ok, 1}

      assert ErlangPython.eval("await __import__('asyncio').sleep(0, 2)", %{}, pool: @pool) ==
               {:ok, 2}

      assert run("import asyncio\nawait asyncio.sleep(0)\n3") == {:ok, 3}
      assert run("import asyncio\nasync def f(): return 4\nf()") == {:ok, 4}
      assert ErlangPython.exec("import asyncio\nawait asyncio.sleep(0)", %{}, pool: @pool) == :ok
    end

    test "fails as it does" do
      code = "async def f():\n    raise ValueError('no')\nawait f()"
      assert {:error, %Error{kind: :python, type: "ValueError"} = error} = run(code)
      assert [%{function: "<module>", line: 3}, %{function: "f", line: 2}] = error.traceback

      assert {:error, %Error{kind: :encode}} = run("async def f(): return object()\nf()")
      assert {:error, %Error{type: "SystemExit"}} = run("async def f(): exit(1)\nf()")

      assert {:error, %Error{type: "asyncio.exceptions.CancelledError"}} =
               run("import asyncio\nasync def f(): raise asyncio.CancelledError\nf()")

      assert run("1") == {:ok, 1}
    end

    test "fails with an exception whose own code raises" do
      for body <- [
            "def __getattr__(self, name): raise KeyError(name)",
            "def __str__(self): raise KeyboardInterrupt"
          ] do
        code = "class Odd(Exception):\n    #{body}\nasync def f(): raise Odd\nawait f()"
        assert {:error, %Error{kind: :python, type: "Odd"}} = run(code)
      end
    end

    test "does not end the loop of the others" do
      pool = start_pool(workers: 1, stdout: :ignore)
      [%{os_pid: os_pid}] = Pool.workers(pool)

      for ended <- [
            "asyncio.get_running_loop().stop()",
            "asyncio.get_running_loop().call_soon(exit)",
            "task = asyncio.create_task(leave(SystemExit))",
            "task = asyncio.create_task(leave(KeyboardInterrupt))"
          ] do
        code = """
        import asyncio
        async def leave(how): raise how
        #{ended}
        await asyncio.sleep(0.001, 'on')
        """

        assert run(code, %{}, pool: pool) == {:ok, "on"}
        assert run("await asyncio.sleep(0.001, 1)", %{}, pool: pool) == {:ok, 1}
      end

      assert [%{os_pid: ^os_pid}] = Pool.workers(pool)
      Pool.restart(pool)
      eventually(fn -> refute os_process?(os_pid) end)
    end

    test "does not occupy its worker" do
      pool = start_pool(workers: 1)

      task =
        Task.async(fn ->
          run("import asyncio\nx = asyncio.Event()\nawait x.wait()\n'end'", %{}, pool: pool)
        end)

      eventually(fn -> assert run("'x' in globals()", %{}, pool: pool) == {:ok, true} end)
      eventually(fn -> assert beside(pool) == [1] end)

      assert run("import asyncio\nx._loop.call_soon_threadsafe(x.set); 1", %{}, pool: pool) ==
               {:ok, 1}

      assert Task.await(task) == {:ok, "end"}
      assert beside(pool) == [0]
    end

    test "has a context of its own, with its request" do
      code = """
      import asyncio, contextvars
      var = globals().setdefault('var', contextvars.ContextVar('var', default='none'))
      before = var.get()
      var.set(name)
      await asyncio.sleep(0.001)
      erlang_says = await erlang.acall(echo, name)
      inner = await asyncio.create_task(asyncio.to_thread(var.get)) if hasattr(asyncio, 'to_thread') else name
      (before, var.get(), inner, erlang_says, erlang.current_request().id > 0)
      """

      # Kept over a callback, and not seen by what that runs in Python.
      echo = fn n ->
        [ErlangPython.eval!("var.get() if 'var' in globals() else 'none'", %{}, pool: @pool), n]
      end

      results =
        for(n <- 1..20, do: Task.async(fn -> run(code, %{name: n, echo: echo}) end))
        |> Task.await_many()

      assert results == for(n <- 1..20, do: {:ok, {"none", n, n, ["none", n], true}})
    end

    test "keeps the bindings of many apart, and what its statements assign" do
      pool = start_pool(workers: 1)
      code = "import asyncio\nawait asyncio.sleep(0.001)\nlast = x\nx"
      tasks = for n <- 1..50, do: Task.async(fn -> run(code, %{x: n}, pool: pool) end)
      assert Task.await_many(tasks) == for(n <- 1..50, do: {:ok, n})
      assert {:ok, {last, false}} = run("last, 'x' in globals()", %{}, pool: pool)
      assert last in 1..50
    end
  end

  describe "stopping" do
    test "a timeout cancels the task, whose finally runs" do
      pool = start_pool(workers: 1)

      code = """
      import asyncio
      cleaned = []
      try:
          await asyncio.sleep(60)
      finally:
          cleaned.append(1)
      """

      assert {:error, %Error{kind: :timeout, executed: :maybe}} =
               run(code, %{}, pool: pool, timeout: 200)

      eventually(fn -> assert beside(pool) == [0] end)
      assert run("cleaned", %{}, pool: pool) == {:ok, [1]}
    end

    test "the end of the caller cancels the task" do
      pool = start_pool(workers: 1)
      test = self()

      code = """
      import asyncio
      erlang.send(test, "in")
      try:
          await asyncio.sleep(60)
      except asyncio.CancelledError:
          erlang.send(test, "cancelled")
          raise
      """

      {:ok, pid} = Task.start(fn -> run(code, %{test: test}, pool: pool) end)
      assert_receive "in", 10_000
      Process.exit(pid, :kill)
      assert_receive "cancelled", 10_000
      eventually(fn -> assert beside(pool) == [0] end)
    end

    test "code that blocks the loop is killed with its worker" do
      pool = start_pool(workers: 1, grace: 200)
      [%{os_pid: before}] = Pool.workers(pool)
      test = self()

      code = """
      import time
      async def f():
          erlang.send(test, "in")
          while True: time.sleep(0.01)
      await f()
      """

      {:ok, pid} = Task.start(fn -> run(code, %{test: test}, pool: pool) end)
      assert_receive "in", 10_000
      Process.exit(pid, :kill)
      eventually(fn -> refute os_process?(before) end)
      await_whole(pool, 1)
      assert run("1", %{}, pool: pool) == {:ok, 1}
    end

    test "the death of the worker ends each with its error" do
      pool = start_pool(workers: 1)
      test = self()
      code = "import asyncio\nerlang.send(test, 'in')\nawait asyncio.sleep(60)"
      tasks = for _ <- 1..100, do: Task.async(fn -> run(code, %{test: test}, pool: pool) end)
      for _ <- 1..100, do: assert_receive("in", 10_000)
      [%{os_pid: os_pid}] = Pool.workers(pool)
      System.cmd("kill", ["-KILL", "#{os_pid}"])

      for result <- Task.await_many(tasks, 30_000),
          do: assert({:error, %Error{kind: :worker_exit, executed: :maybe}} = result)

      await_whole(pool, 1)
    end

    test "a restart waits for it" do
      pool = start_pool(workers: 1)
      test = self()
      code = "import asyncio\nerlang.send(test, 'in')\nawait asyncio.sleep(0.2)\n'end'"
      task = Task.async(fn -> run(code, %{test: test}, pool: pool) end)
      assert_receive "in", 10_000
      assert Pool.restart(pool) == :ok
      assert Task.await(task) == {:ok, "end"}
    end
  end

  test "many are balanced over the workers, and counted by admission" do
    pool = start_pool(workers: 2, max_concurrent: 100)
    test = self()
    code = "import asyncio\nerlang.send(test, 'in')\nawait asyncio.sleep(60)"
    # One after another, so that each finds both workers idle.
    tasks =
      for n <- 1..100 do
        task = Task.async(fn -> run(code, %{test: test}, pool: pool) end)
        assert_receive "in", 10_000
        eventually(fn -> assert Enum.sum(beside(pool)) == n end)
        task
      end

    assert beside(pool) == [50, 50]
    assert {:error, %Error{kind: :overloaded}} = run("1", %{}, pool: pool)
    Enum.each(tasks, &Task.shutdown(&1, :brutal_kill))
    await_whole(pool, 2)
    eventually(fn -> assert beside(pool) == [0, 0] end)
  end

  describe "acall" do
    test "many at once, with checked answers" do
      ErlangPython.register("asyncio_test_double", fn n -> 2 * n end)

      code = """
      import asyncio
      async def one(n):
          return [await erlang.acall('asyncio_test_double', n + i) for i in range(40)]
      await asyncio.gather(*(one(n) for n in range(50)))
      """

      assert {:ok, answers} = run(code)
      assert answers == for(n <- 0..49, do: for(i <- 0..39, do: 2 * (n + i)))
    after
      ErlangPython.unregister("asyncio_test_double")
    end

    test "its callback may call Python, on a pool of one whose main thread waits for the loop" do
      pool = start_pool(workers: 1)

      ErlangPython.register(
        "asyncio_test_back",
        &ErlangPython.eval!("n + 1", %{n: &1}, pool: pool)
      )

      waiting = """
      import asyncio, threading
      def in_a_loop_of_its_own(n): return asyncio.run(erlang.acall('asyncio_test_back', n))
      in_a_loop_of_its_own(1)
      """

      assert run(waiting, %{}, pool: pool) == {:ok, 2}
      assert run("await erlang.acall('asyncio_test_back', 2)", %{}, pool: pool) == {:ok, 3}
    after
      ErlangPython.unregister("asyncio_test_back")
    end

    test "failures and unknown functions raise" do
      ErlangPython.register("asyncio_test_boom", fn -> raise "boom" end)

      assert {:error, %Error{kind: :elixir, details: %{reason: %RuntimeError{message: "boom"}}}} =
               run("await erlang.acall('asyncio_test_boom')")

      assert {:error, %Error{type: "erlang.UnknownFunction"}} =
               run("await erlang.acall('no_such')")

      assert {:error, %Error{type: "TypeError"}} = run("await erlang.acall('no_such', object())")
    after
      ErlangPython.unregister("asyncio_test_boom")
    end

    test "an Elixir enumerable is an asynchronous iterator too" do
      assert run("[x async for x in it]", %{it: ErlangPython.iterator(1..500)}) ==
               {:ok, Enum.to_list(1..500)}
    end
  end

  describe ":py" do
    test "async_call and async_await" do
      ref = :py.async_call(:asyncio, :sleep, [0, 7])
      assert :py.async_await(ref) == {:ok, 7}
      ref = :py.async_call(:asyncio, :sleep, [0], %{result: 8})
      assert :py.async_await(ref, 5_000) == {:ok, 8}
      assert :py.async_await(make_ref()) == {:error, :invalid_args}
    end

    test "async_stream" do
      assert :py.async_stream(:builtins, :iter, [[1, 2]]) == {:ok, [1, 2]}
      assert :py.async_stream(:builtins, :dict, [], %{a: 1}) == {:ok, [%{"a" => 1}]}
    end

    test "async_gather gives results in order, and the first failure" do
      assert :py.async_gather([
               {:asyncio, :sleep, [0.01, 1]},
               {:math, :sqrt, [4]},
               {:builtins, :dict, [], %{a: 1}}
             ]) ==
               {:ok, [1, 2.0, %{"a" => 1}]}

      assert :py.async_gather([]) == {:ok, []}

      assert {:error, {:ValueError, _message}} =
               :py.async_gather([{:asyncio, :sleep, [60]}, {:math, :sqrt, [-1]}])

      assert {:ok, [stream, 1]} =
               :py.async_gather([{:builtins, :iter, [[5, 6]]}, {:builtins, :abs, [-1]}])

      assert for(_ <- 1..3, do: :py.stream_next(stream)) == [{:ok, 5}, {:ok, 6}, :done]

      assert :py.async_gather([:bad]) == {:error, :invalid_args}
      assert :py.async_gather(:bad) == {:error, :invalid_args}
      assert {:messages, []} = Process.info(self(), :messages)
    end
  end
end
