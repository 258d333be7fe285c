defmodule ErlangPython.Pool.Intake.StuckTest do
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.Pool.{Directory, Pending, Queue, Slots}
  alias ErlangPython.Pool.Intake.Stuck

  @moduletag :tmp_dir

  test "a request for a stuck worker that has died by then goes back to the queue", %{
    tmp_dir: dir
  } do
    pool = start_pool(workers: 1, window: 1)
    handle = handle(pool)
    {running, gate} = occupy(pool, dir)
    waiting = Task.async(fn -> ErlangPython.eval("6 * 7", %{}, pool: pool) end)
    eventually(fn -> assert %{queued: 1} = Pool.stats(pool) end)
    [id] = Pending.of_caller(handle, waiting.pid)
    true = Queue.drop(handle, id)

    # One whose row has not been taken out yet, in a place where the pool has none.
    gone = %{slot: 2, generation: 1, worker: spawn(fn -> nil end), writer: self()}
    Directory.put_worker(handle, gone)
    Slots.next_generation(handle, 2)
    Slots.next_generation(handle, 2)
    Stuck.give_on(handle, id, 2)

    assert Slots.beside(handle, 2) == 0
    File.touch!(gate.go)
    assert Task.await(running) == :ok
    assert Task.await(waiting) == {:ok, 42}
    await_whole(pool, 1)
  end
end
