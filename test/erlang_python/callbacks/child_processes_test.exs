defmodule ErlangPython.Callbacks.ChildProcessesTest do
  # Callbacks out of processes that Python code has started.
  use ErlangPython.CallbackCase, async: false

  alias ErlangPython.{Context, LogEvents, State}
  alias ErlangPython.Pool.Directory

  @moduletag :tmp_dir

  # A process that is started anew imports this.
  @module """
  import asyncio, erlang, os, threading

  def call(n): return erlang.call("square", n)
  def named(n): return erlang.square(n)
  def acall(n): return asyncio.run(erlang.acall("square", n))
  def nested(n): return erlang.call("root", n)
  def callers(_): return erlang.call("callers")
  def state(n): return erlang.state_get("child_processes") + n
  def wait(_): return erlang.call("wait", os.getpid())

  def threads(n):
      with_square = []
      each = [threading.Thread(target=lambda: with_square.append(call(n))) for _ in range(3)]
      for thread in each: thread.start()
      for thread in each: thread.join()
      return sum(with_square)
  """

  setup %{tmp_dir: dir} do
    name = "children_#{System.unique_integer([:positive])}"
    File.write!(Path.join(dir, name <> ".py"), @module)
    pool = start_pool(workers: 1, paths: [dir], preload: [name], grace: 10_000)
    test = self()
    register(:square, &(&1 * &1))
    register(:root, &ErlangPython.call!(:math, :sqrt, [&1], pool: pool))
    register(:callers, fn -> Process.get(:"$callers") end)

    register(:wait, fn os_pid ->
      send(test, {:in, self(), os_pid})
      receive do: (:go -> :done)
    end)

    {:ok, pool: pool, module: name}
  end

  # The values of a function for some arguments, each in a child process.
  defp map(%{pool: pool, module: module}, method, function, args, opts \\ []) do
    code = """
    import multiprocessing, #{module}
    with multiprocessing.get_context(method).Pool(2) as processes:
        out = processes.map(#{module}.#{function}, args)
    out
    """

    run(pool, code, %{method: method, args: args}, opts)
  end

  defp connections(pool) do
    {_generation, worker, _writer} = Directory.worker(handle(pool), 1)
    map_size(:sys.get_state(worker).readers)
  end

  for method <- ["fork", "spawn", "forkserver"] do
    describe "a process of multiprocessing, by #{method}" do
      @method method

      test "calls, from each thread and event loop, and leaves nothing", context do
        State.put("child_processes", 1)
        on_exit(fn -> State.delete("child_processes") end)

        for {function, expected} <- [
              call: [1, 16, 81],
              named: [1, 16, 81],
              acall: [1, 16, 81],
              threads: [3, 48, 243],
              state: [2, 5, 10]
            ],
            do:
              assert(
                {function, map(context, @method, function, [1, 4, 9])} ==
                  {function, {:ok, expected}}
              )

        eventually(fn -> assert connections(context.pool) == 2 end)
        await_nothing_left(context.pool)
      end

      test(
        "is called back by what it calls, in the worker, whose main thread waits for it",
        context,
        do: assert(map(context, @method, :nested, [1, 4, 9]) == {:ok, [1.0, 2.0, 3.0]})
      )

      test "works for the request that started it", context do
        test = self()
        assert map(context, @method, :callers, [1, 2]) == {:ok, [[test], [test]]}
      end

      test "that is killed takes its callback along, and not the worker", context do
        %{pool: pool, module: module} = context
        before = os_pid(pool)

        code = """
        import multiprocessing, #{module}
        process = multiprocessing.get_context(method).Process(target=#{module}.wait, args=(1,))
        process.start(); process.join()
        process.exitcode
        """

        task = Task.async(fn -> run(pool, code, %{method: @method}) end)
        assert_receive {:in, callback, os_pid}, 20_000
        ref = Process.monitor(callback)
        System.cmd("kill", ["-KILL", "#{os_pid}"])
        assert_receive {:DOWN, ^ref, :process, ^callback, :killed}
        assert Task.await(task) == {:ok, -9}
        assert os_pid(pool) == before
        await_nothing_left(pool)
      end
    end
  end

  test "a function of Elixir's is what a process runs", %{pool: pool} do
    code = """
    import concurrent.futures
    with concurrent.futures.ProcessPoolExecutor(2) as processes:
        out = list(processes.map(erlang.square, [2, 3])) + list(processes.map(double, [4]))
    out
    """

    assert run(pool, code, %{double: &(2 * &1)}) == {:ok, [4, 9, 8]}
  end

  test "a failure keeps the original exception through both processes", %{pool: pool} do
    register(:boom, fn _n -> raise ArgumentError, "bad price" end)

    code = """
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(1) as processes:
        processes.submit(erlang.call, "boom", 1).result()
    """

    assert {:error, %Error{kind: :elixir} = error} = run(pool, code)
    assert error.details.reason == %ArgumentError{message: "bad price"}
  end

  test "a process that outlives the request which started it works for nobody", context do
    %{pool: pool, module: module} = context

    start = """
    import concurrent.futures, #{module}
    processes = concurrent.futures.ProcessPoolExecutor(1)
    processes.submit(#{module}.callers, 1).result()
    """

    assert run(pool, start) == {:ok, [self()]}
    assert run(pool, "processes.submit(#{module}.callers, 1).result()") == {:ok, nil}
    assert run(pool, "processes.shutdown()") == {:ok, nil}
  end

  test "at the deadline of its request a callback of its child ends too", context do
    before = os_pid(context.pool)
    assert {:error, %{kind: :timeout}} = map(context, "fork", :wait, [1], timeout: 1_000)
    assert_received {:in, callback, _os_pid}
    ref = Process.monitor(callback)
    assert_receive {:DOWN, ^ref, :process, ^callback, _reason}
    assert map(context, "fork", :call, [2]) == {:ok, [4]}
    assert os_pid(context.pool) == before
    await_nothing_left(context.pool)
  end

  test "with its worker ends a callback of its child too", context do
    task = Task.async(fn -> map(context, "spawn", :wait, [1]) end)
    assert_receive {:in, callback, os_pid}, 20_000
    ref = Process.monitor(callback)
    System.cmd("kill", ["-KILL", "#{os_pid(context.pool)}"])
    assert {:error, %{kind: :worker_exit}} = Task.await(task)
    assert_receive {:DOWN, ^ref, :process, ^callback, _reason}
    eventually(fn -> refute os_process?(os_pid) end)
    assert map(context, "fork", :call, [2]) == {:ok, [4]}
    await_nothing_left(context.pool)
  end

  test "a child of a context's request works in that context", %{pool: pool} do
    context = ErlangPython.TestContexts.open!(pool, :shared)
    on_exit(fn -> Context.close(context) end)
    register(:name, fn -> ErlangPython.eval!("name", %{}, pool: pool) end)

    code = """
    import erlang, os
    name = 42
    child = os.fork()
    if child == 0: os._exit(erlang.name())
    os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    """

    assert ErlangPython.run(code, %{}, context: context) == {:ok, 42}
  end

  if match?({:unix, :linux}, :os.type()) do
    test "a process that has left the worker's group is told so", %{pool: pool} do
      code = """
      import os
      read, write = os.pipe()
      child = os.fork()
      if child == 0:
          os.setsid()
          try: erlang.square(2)
          except ConnectionError as error: os.write(write, str(error).encode())
          os._exit(0)
      os.waitpid(child, 0)
      os.read(read, 1000).decode()
      """

      LogEvents.forward()
      assert run!(pool, code) =~ "it has left the worker's process group (os.setsid"
      assert_receive {:logged, :warning, "a ZMTP peer was refused: OS process " <> more}
      assert more =~ "is not of the worker's process group"
    end
  end
end
