defmodule ErlangPython.MaxOverflowTest do
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.{Context, Ref}
  alias ErlangPython.Pool.{Directory, Manager}

  @moduletag :tmp_dir

  defp open!(pool, mode \\ :dedicated) do
    {:ok, context} = Context.open(pool: pool, mode: mode)
    context
  end

  defp pid(opts), do: ErlangPython.call!(:os, :getpid, [], opts)

  defp workers(pool), do: Pool.stats(pool).workers

  test "serves plain calls, and further contexts, when all workers are set aside" do
    pool = start_pool(workers: 1, max_overflow: 2)
    assert workers(pool) == 1
    first = open!(pool)
    assert workers(pool) == 2
    assert ErlangPython.eval("1", %{}, pool: pool) == {:ok, 1}
    # Waits for the worker, if that starts just then.
    second = open!(pool)
    third = open!(pool)
    assert %{workers: 3, bound: 3} = Pool.stats(pool)
    assert {:error, %Error{kind: :no_workers, executed: :no}} = Context.open(pool: pool)

    # Plain calls queue.
    assert {:error, %Error{kind: :timeout, executed: :no}} =
             ErlangPython.eval("1", %{}, pool: pool, timeout: 50)

    waiting = Task.async(fn -> ErlangPython.eval("1", %{}, pool: pool) end)
    eventually(fn -> assert %{queued: 1} = Pool.stats(pool) end)
    Context.close(second)
    assert Task.await(waiting) == {:ok, 1}

    assert [first, third] |> Enum.map(&pid(context: &1)) |> Enum.uniq() |> length() == 2
    Context.close(first)
    Context.close(third)
    # Extra workers end when they have not been needed for a while.
    await_whole(pool, 1)
    assert [%{id: 1, state: :idle}] = Pool.workers(pool)
  end

  test "binding and unbinding in turn starts one worker, not one each time" do
    pool = start_pool(workers: 1, max_overflow: 1)

    pids =
      for _ <- 1..20 do
        ErlangPython.with_context(fn -> pid(pool: pool) end, pool: pool)
      end

    assert length(Enum.uniq(pids)) <= 2
  end

  test "fifty processes bind at once" do
    pool = start_pool(workers: 1, max_overflow: 2)
    test = self()

    tasks =
      for n <- 1..50 do
        Task.async(fn ->
          case ErlangPython.bind(pool: pool) do
            :ok ->
              ErlangPython.exec!("n = #{n}")
              send(test, :bound)
              receive do: (:go -> :ok)
              assert ErlangPython.eval!("n") == n
              :bound

            {:error, %Error{kind: :no_workers}} ->
              :none
          end
        end)
      end

    for _ <- 1..3, do: assert_receive(:bound, 30_000)
    # As many as may be, and no more as long as these have not gone.
    refute_received :bound
    for task <- tasks, do: send(task.pid, :go)
    results = Task.await_many(tasks, 60_000)
    assert Enum.count(results, &(&1 == :bound)) >= 3
    await_whole(pool, 1)
  end

  test "an extra worker that dies is replaced if it is needed" do
    pool = start_pool(workers: 1, max_overflow: 1)
    first = open!(pool)
    before = pid(pool: pool)

    assert {:error, %Error{kind: :worker_exit}} =
             ErlangPython.run("import os; os._exit(1)", %{}, pool: pool)

    assert pid(pool: pool) != before
    # Its own, too.
    second = open!(pool)

    assert {:error, %Error{kind: :worker_exit}} =
             ErlangPython.run("import os; os._exit(1)", %{}, context: second)

    assert {:error, %Error{kind: :context_lost}} = ErlangPython.eval("1", %{}, context: second)
    assert is_integer(pid(pool: pool))
    Context.close(first)
    await_whole(pool, 1)
  end

  test "a context in an extra worker stays there, and so does an object" do
    pool = start_pool(workers: 1, max_overflow: 1)
    first = open!(pool)
    ref = ErlangPython.eval!("[1]", %{}, pool: pool, return: :ref)
    assert ref.slot == 2
    second = open!(pool)
    ErlangPython.exec!("x = 1", %{}, context: second)
    Context.close(first)
    # The regular one serves.
    assert is_integer(pid(pool: pool))
    assert ErlangPython.eval("x", %{}, context: second) == {:ok, 1}
    Context.close(second)
    assert Ref.value(ref) == {:ok, [1]}
    assert workers(pool) == 2
    Ref.release(ref)
    await_whole(pool, 1)
  end

  test "shared contexts go to regular workers as long as there are any" do
    pool = start_pool(workers: 2, max_overflow: 1)
    contexts = [open!(pool), open!(pool)]
    Context.close(hd(contexts))
    shared = for _ <- 1..4, do: open!(pool, :shared)
    assert shared |> Enum.map(&pid(context: &1)) |> Enum.uniq() |> length() == 1
    Enum.each(shared ++ contexts, &Context.close/1)
    await_whole(pool, 2)
  end

  test "a killed owner's extra worker is free again" do
    pool = start_pool(workers: 1, max_overflow: 1)
    first = open!(pool)
    test = self()

    {owner, monitor} =
      spawn_monitor(fn ->
        send(test, {:opened, open!(pool)})
        Process.sleep(:infinity)
      end)

    assert_receive {:opened, _context}, 30_000
    Process.exit(owner, :kill)
    assert_receive {:DOWN, ^monitor, :process, ^owner, :killed}
    assert is_integer(pid(pool: pool))
    Context.close(first)
    await_whole(pool, 1)
  end

  test "opening waits for the end of one that is about to go, and for the next", %{tmp_dir: dir} do
    pool = start_pool(workers: 1, max_overflow: 1)
    {:ok, first} = Context.open(pool: pool)
    # In the extra worker, which is no longer needed when the context is closed.
    {busy, gate} = occupy(pool, dir)
    Context.close(first)
    handle = handle(pool)

    phase = fn ->
      elem(Manager.slots(handle), 1) |> Enum.find(&(&1.slot == 2)) |> Map.get(:phase)
    end

    eventually(fn -> assert phase.() == :closing end)

    {:ok, second} = Context.open(pool: pool)
    third = Task.async(fn -> Context.open(pool: pool) end)
    manager = Directory.whereis(handle, :manager)
    eventually(fn -> assert [_opener] = :sys.get_state(manager).waiting.context end)
    File.touch!(gate.go)
    assert {:ok, _context} = Task.await(third, 30_000)
    assert Task.await(busy) == :ok
    Context.close(second)
  end

  test "the size of the pool can change meanwhile" do
    pool = start_pool(workers: 1, max_overflow: 1)
    first = open!(pool)
    assert is_integer(pid(pool: pool))
    # The extra worker becomes a regular one.
    assert Pool.scale(pool, 2) == :ok
    Context.close(first)
    await_whole(pool, 2)
    contexts = [open!(pool), open!(pool)]
    assert workers(pool) == 3
    assert Pool.scale(pool, 1) == :ok
    Enum.each(contexts, &Context.close/1)
    await_whole(pool, 1)
    assert Pool.restart(pool) == :ok
    await_whole(pool, 1)
  end

  test "a rolling restart replaces extra workers that are needed" do
    pool = start_pool(workers: 1, max_overflow: 1)
    _lost = open!(pool)
    before = pid(pool: pool)
    assert Pool.restart(pool) == :ok
    assert pid(pool: pool) != before
    await_whole(pool, 1)
  end

  test "after a crash of the manager the pool has its size" do
    pool = start_pool(workers: 1, max_overflow: 1)
    _lost = open!(pool)
    assert is_integer(pid(pool: pool))
    {:ok, handle} = ErlangPython.Pool.Handle.fetch(pool)
    manager = Directory.whereis(handle, :manager)

    # All of them, or the next request may go to a worker that is about to be taken down.
    workers = for slot <- 1..2, {_, worker, _} = Directory.worker(handle, slot), do: worker
    monitors = Enum.map([manager | workers], &Process.monitor/1)
    Process.exit(manager, :kill)
    for ref <- monitors, do: assert_receive({:DOWN, ^ref, :process, _pid, _reason}, 30_000)
    assert is_integer(pid(pool: pool))
    await_whole(pool, 1)
  end

  test "one that can't start leaves the others as they are", %{tmp_dir: dir} do
    broken = Path.join(dir, "broken")

    pool =
      start_pool(
        workers: 1,
        max_overflow: 1,
        preload: [code: "import os\nassert not os.path.exists(#{inspect(broken)})"]
      )

    File.touch!(broken)
    context = open!(pool)
    assert {:error, %Error{kind: :no_workers, executed: :no}} = Context.open(pool: pool)
    assert ErlangPython.eval("1", %{}, context: context) == {:ok, 1}
    File.rm!(broken)
    assert ErlangPython.eval("1", %{}, pool: pool) == {:ok, 1}
    Context.close(context)
    await_whole(pool, 1)
  end

  test "wrong values are refused" do
    assert_raise ArgumentError, ~r/:max_overflow.*non-negative/, fn ->
      Pool.child_spec(name: :x, max_overflow: -1)
    end

    assert_raise ArgumentError, ~r/:max_overflow.*at most 0/, fn ->
      Pool.child_spec(name: :x, workers: 1024, max_overflow: 1)
    end

    assert %{} = Pool.child_spec(name: :x, workers: 1, max_overflow: 1023)
  end
end
