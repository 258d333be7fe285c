defmodule ErlangPython.Pool.HeldTest do
  # Workers whose main threads are held by a request that takes long: what was sent there is served by others.
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.Context
  alias ErlangPython.Pool.{Contexts, Pending, Slots}

  @moduletag :tmp_dir

  # Of a pool's workers, in their order.
  defp contexts(pool, workers) do
    1..workers
    |> Enum.map(fn _ ->
      {:ok, context} = Context.open(pool: pool, mode: :shared)
      {:ok, {slot, _generation}} = Contexts.fetch(handle(pool), context.id)
      {slot, context}
    end)
    |> Enum.sort()
    |> Enum.map(fn {_slot, context} -> context end)
  end

  # Runs gated code, with its place in `opts`; gives the task and the gate when it has come there.
  defp hold(dir, opts) do
    gate =
      dir |> Path.join("#{System.unique_integer([:positive])}") |> tap(&File.mkdir!/1) |> gate()

    task = Task.async(fn -> ErlangPython.exec(gated(), gate, [timeout: :infinity] ++ opts) end)
    await_file(gate.started)
    {task, gate}
  end

  defp open({task, gate}) do
    File.touch!(gate.go)
    assert Task.await(task, :infinity) == :ok
  end

  # A call, when it waits in the queue.
  defp queued(pool) do
    task = Task.async(fn -> ErlangPython.eval("1 + 1", %{}, pool: pool) end)

    eventually(fn ->
      assert [id] = Pending.of_caller(handle(pool), task.pid)
      assert {_caller, 0, _pinned?} = Pending.standing(handle(pool), id)
    end)

    task
  end

  describe "while a request of a context holds a worker, calls are served by the other one," do
    setup %{tmp_dir: dir} do
      pool = start_pool(workers: 2)
      [first, second] = contexts(pool, 2)
      {:ok, pool: pool, idle: first, held: fn -> hold(dir, context: second) end}
    end

    test "although that has streams open", %{pool: pool} = test do
      for _ <- 1..3 do
        stream = ErlangPython.stream(:builtins, :range, [9], context: test.idle)

        {:suspended, 0, _continue} =
          Enumerable.reduce(stream, {:cont, nil}, fn item, _ -> {:suspend, item} end)
      end

      held = test.held.()
      for _ <- 1..5, do: assert(ErlangPython.eval("1 + 1", %{}, pool: pool) == {:ok, 2})
      open(held)
    end

    test "although that has coroutines", %{pool: pool, tmp_dir: dir} = test do
      go = Path.join(dir, "coroutines")
      code = "import asyncio, os\nwhile not os.path.exists(go): await asyncio.sleep(0.005)"
      run = fn -> ErlangPython.exec(code, %{go: go}, context: test.idle) end
      coroutines = for _ <- 1..3, do: Task.async(run)
      {:ok, {slot, _generation}} = Contexts.fetch(handle(pool), test.idle.id)
      eventually(fn -> assert Slots.beside(handle(pool), slot) == 3 end)
      held = test.held.()
      for _ <- 1..5, do: assert(ErlangPython.eval("1 + 1", %{}, pool: pool) == {:ok, 2})
      File.touch!(go)
      assert Task.await_many(coroutines) == [:ok, :ok, :ok]
      open(held)
    end

    test "as soon as that is free", %{pool: pool, tmp_dir: dir} = test do
      held = test.held.()
      busy = hold(dir, pool: pool)
      call = queued(pool)
      open(busy)
      assert Task.await(call) == {:ok, 2}
      open(held)
    end
  end

  for mode <- [:dedicated, :shared] do
    test "a #{mode} context is opened in another worker", %{tmp_dir: dir} do
      pool = start_pool(workers: 2)
      # Where contexts go that have the choice.
      {:ok, context} = Context.open(pool: pool, mode: :shared)
      code = "lambda code, gate: exec(code, dict(gate))"
      {:ok, ref} = ErlangPython.eval(code, %{}, context: context, return: :ref)
      Context.close(context)
      await_whole(pool, 2)
      gate = gate(dir)
      call = fn -> ErlangPython.Ref.call(ref, :__call__, [gated(), gate], timeout: :infinity) end
      held = Task.async(call)
      await_file(gate.started)
      {:ok, context} = Context.open(pool: pool, mode: unquote(mode))
      assert ErlangPython.eval("1 + 1", %{}, context: context) == {:ok, 2}
      File.touch!(gate.go)
      assert Task.await(held) == {:ok, nil}
    end
  end

  for window <- [:auto, 16] do
    test "with a window of #{window}, a call waits for any worker, not for one", %{tmp_dir: dir} do
      pool = start_pool(workers: 2, window: unquote(window))
      [one, two] = for _ <- 1..2, do: hold(dir, pool: pool)
      call = queued(pool)
      open(one)
      assert Task.await(call) == {:ok, 2}
      open(two)
      await_whole(pool, 2)
    end

    test "with a window of #{window}, a worker serves others again when a context's request has ended",
         %{tmp_dir: dir} do
      pool = start_pool(workers: 1, window: unquote(window))
      [context] = contexts(pool, 1)
      held = hold(dir, context: context)
      calls = for _ <- 1..3, do: queued(pool)
      open(held)
      assert Task.await_many(calls) == [{:ok, 2}, {:ok, 2}, {:ok, 2}]
      await_whole(pool, 1)
      assert Slots.window(handle(pool), 1) > 0
    end
  end

  test "a worker serves others again when a context's request goes on as a coroutine", %{
    tmp_dir: dir
  } do
    pool = start_pool(workers: 1)
    [context] = contexts(pool, 1)

    ErlangPython.exec!(
      """
      import asyncio, pathlib, time
      def work(started, go, end):
          pathlib.Path(started).touch()
          while not pathlib.Path(go).exists(): time.sleep(0.005)
          async def more():
              while not pathlib.Path(end).exists(): await asyncio.sleep(0.005)
          return more()
      """,
      %{},
      context: context
    )

    gate = gate(dir)
    last = Path.join(dir, "end")
    args = [gate.started, gate.go, last]
    held = Task.async(fn -> ErlangPython.call(:__main__, :work, args, context: context) end)
    await_file(gate.started)
    call = queued(pool)
    File.touch!(gate.go)
    assert Task.await(call) == {:ok, 2}
    File.touch!(last)
    assert Task.await(held) == {:ok, nil}
    await_whole(pool, 1)
  end
end
