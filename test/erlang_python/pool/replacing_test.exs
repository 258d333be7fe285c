defmodule ErlangPython.Pool.ReplacingTest do
  # Whose turn it is to be replaced, and who is told of it, while workers are busy.
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.Pool.{Directory, Slots}

  @moduletag :tmp_dir

  # A pool of two, of which one is busy and to be replaced: `%{pool, busy, free, running, gate}`.
  defp draining(dir, options \\ []) do
    pool = start_pool([workers: 2, window: 1] ++ options)
    {running, gate} = occupy(pool, dir)
    [busy] = for %{state: :busy, id: id} <- Pool.workers(pool), do: id
    retire(pool, busy)
    eventually(fn -> assert worker(pool, busy).state == :draining end)
    %{pool: pool, busy: busy, free: 3 - busy, running: running, gate: gate}
  end

  defp worker(pool, id), do: Enum.find(Pool.workers(pool), &(&1.id == id))
  defp generation(pool, slot), do: Slots.generation(handle(pool), slot)

  # What a worker asks for when it has served its requests, or has grown.
  defp retire(pool, slot, why \\ :max_memory),
    do: send(manager(pool), {:retire, slot, generation(pool, slot), why})

  defp manager(pool), do: Directory.whereis(handle(pool), :manager)

  defp restart(pool) do
    restart = Task.async(fn -> Pool.restart(pool) end)
    eventually(fn -> assert [_from] = :sys.get_state(manager(pool)).waiting.restart end)
    restart
  end

  defp await_replaced(pool, slot, before) do
    eventually(fn ->
      assert %{state: :idle, os_pid: now} = worker(pool, slot)
      assert now != before
    end)
  end

  test "a request that does not end keeps nobody else from being replaced", %{tmp_dir: dir} do
    %{pool: pool, busy: busy, free: free} = context = draining(dir, max_requests: 5)
    %{os_pid: before} = worker(pool, free)
    for _ <- 1..5, do: {:ok, 1} = ErlangPython.eval("1", %{}, pool: pool)
    # What the manager tells itself after a while.
    send(manager(pool), {:overdue, {busy, generation(pool, busy)}})
    await_replaced(pool, free, before)
    assert worker(pool, busy).state == :draining
    File.touch!(context.gate.go)
    assert Task.await(context.running) == :ok
    await_whole(pool, 2)
  end

  test "who is to be replaced for two reasons is replaced once", %{tmp_dir: dir} do
    %{pool: pool, free: free} = context = draining(dir)
    before = generation(pool, free)
    retire(pool, free)
    restart = restart(pool)
    File.touch!(context.gate.go)
    assert Task.await(restart) == :ok
    # It ends, and the next starts.
    assert generation(pool, free) == before + 2
    assert Task.await(context.running) == :ok
  end

  test "who takes the place of one that was to be replaced is not", %{tmp_dir: dir} do
    %{pool: pool, busy: busy, free: free} = context = draining(dir)
    [%{os_pid: old}, %{os_pid: dead}] = [worker(pool, busy), worker(pool, free)]
    retire(pool, free)
    {_output, 0} = System.cmd("kill", ["-9", "#{dead}"])
    await_replaced(pool, free, dead)
    %{os_pid: fresh} = worker(pool, free)
    File.touch!(context.gate.go)
    await_replaced(pool, busy, old)
    assert %{state: :idle, os_pid: ^fresh} = worker(pool, free)
    assert Task.await(context.running) == :ok
  end

  test "restart/1 waits for the workers that it found, and for no later ones", %{tmp_dir: dir} do
    %{pool: pool, busy: busy, free: free} = context = draining(dir)
    [second, third] = for n <- 1..2, do: tap(Path.join(dir, "#{n}"), &File.mkdir_p!/1)
    {running, gate} = occupy(pool, second)
    %{os_pid: before} = worker(pool, busy)
    restart = restart(pool)
    File.touch!(context.gate.go)

    # The first is replaced, the second's turn has come. Now the first is to be replaced again, and is busy.
    eventually(fn -> assert worker(pool, free).state == :draining end)
    await_replaced(pool, busy, before)
    {again, last} = occupy(pool, third)
    retire(pool, busy)
    File.touch!(gate.go)
    assert Task.await(restart) == :ok
    File.touch!(last.go)
    assert Task.await_many([context.running, running, again]) == [:ok, :ok, :ok]
    await_whole(pool, 2)
  end
end
