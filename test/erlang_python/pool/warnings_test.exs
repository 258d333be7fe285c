defmodule ErlangPython.Pool.WarningsTest do
  # What the log says of workers that end, or can't start.
  use ErlangPython.PoolCase, async: true

  import ExUnit.CaptureLog

  alias ErlangPython.LogEvents
  alias ErlangPython.Pool.Slots

  # All that was logged of this pool so far, and nothing of those of other tests.
  defp logged(pool, texts \\ []) do
    receive do
      {:logged, :warning, text} -> logged(pool, [text | texts])
      {:logged, _level, _text} -> logged(pool, texts)
    after
      0 -> texts |> Enum.reverse() |> Enum.filter(&(&1 =~ inspect(pool)))
    end
  end

  defp await_logged(pool) do
    name = inspect(pool)

    receive do
      {:logged, :warning, text} -> if text =~ name, do: text, else: await_logged(pool)
    after
      10_000 -> flunk("nothing was logged of #{name}")
    end
  end

  defp kill(pool) do
    [%{os_pid: os_pid}] = Pool.workers(pool)
    System.cmd("kill", ["-KILL", "#{os_pid}"])
    os_pid
  end

  test "an idle worker that is killed" do
    LogEvents.forward()
    pool = start_pool(workers: 1)
    os_pid = kill(pool)

    assert await_logged(pool) ==
             "Python worker 1 of the pool #{inspect(pool)} (OS process #{os_pid}) was killed by signal 9 " <>
               "(SIGKILL: by hand, or out of memory)"

    await_whole(pool, 1)

    log =
      capture_log([metadata: [:pool, :worker, :os_pid]], fn ->
        kill(pool)
        await_logged(pool)
        # The pool's manager, which logs, goes on to other things.
        Pool.workers(pool)
      end)

    assert log =~ ~r/pool=#{pool} worker=#{pool}-1 os_pid=\d+ .*Python worker 1 of the pool/
    assert logged(pool) == []
  end

  test "one that ends in a request, with what it has printed last" do
    LogEvents.forward()
    pool = start_pool(workers: 1)
    code = "import os; os.write(2, b'out of order\\n'); os._exit(3)"
    assert {:error, %Error{kind: :worker_exit}} = ErlangPython.exec(code, %{}, pool: pool)
    assert await_logged(pool) =~ "exited with status 3; its last output:\n  out of order"
    assert logged(pool) == []
  end

  test "one whose process here has ended" do
    LogEvents.forward()
    pool = start_pool(workers: 1)
    {_generation, worker, _writer} = Pool.Directory.worker(handle(pool), 1)
    Process.exit(worker, :kill)
    assert await_logged(pool) =~ ~r/\(OS process \d+\) was killed because .* has ended: killed/
  end

  test "none that was to end, or is killed since its request would not" do
    LogEvents.forward()
    pool = start_pool(workers: 1, max_requests: 2, grace: 100)
    assert Pool.restart(pool) == :ok
    assert Pool.scale(pool, 2) == :ok
    assert Pool.scale(pool, 1) == :ok
    for _ <- 1..4, do: ErlangPython.eval!("1", %{}, pool: pool)
    code = "import ctypes; ctypes.PyDLL(None).sleep(60)"
    assert {:error, %Error{}} = ErlangPython.exec(code, %{}, pool: pool, timeout: 50)
    await_whole(pool, 1)
    stop_supervised!(pool)
    assert logged(pool) == []
  end

  test "starts that fail, once for many" do
    LogEvents.forward()
    pool = start_pool(workers: 1, lazy: true, preload: ["no_such_module"])
    eventually(fn -> assert Slots.generation(handle(pool), 1) > 4 end)
    assert [text] = logged(pool)
    assert text =~ "a worker of the pool #{inspect(pool)} can't start, and is tried again: "
    assert text =~ "No module named 'no_such_module'"
  end

  test "no start whose error start_link gives" do
    LogEvents.forward()
    pool = unique_name()
    options = [name: pool, workers: 1, preload: ["no_such_module"], stdout: :ignore]

    assert {:error, _} =
             start_supervised({Pool, [python: ErlangPython.TestPython.executable()] ++ options})

    assert logged(pool) == []
  end
end
