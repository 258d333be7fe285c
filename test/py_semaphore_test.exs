defmodule PySemaphoreTest do
  # Not async: there is one semaphore.
  use ExUnit.Case

  setup do
    max = :py_semaphore.max_concurrent()
    :py_semaphore.set_max_concurrent(2)
    on_exit(fn -> :py_semaphore.set_max_concurrent(max) end)
  end

  # Holds one until it is told to let go.
  defp holder do
    test = self()

    pid =
      spawn_link(fn ->
        send(test, {self(), :py_semaphore.acquire(:infinity)})

        receive do
          :release -> send(test, {self(), :py_semaphore.release()})
        end
      end)

    pid
  end

  test "counts, refuses beyond the limit, and lets the next one in" do
    assert :py_semaphore.current() == 0
    first = holder()
    assert_receive {^first, :ok}
    assert :py_semaphore.acquire(0) == :ok
    assert :py_semaphore.current() == 2
    assert :py_semaphore.acquire(0) == {:error, :max_concurrent}
    assert :py_semaphore.acquire(1) == {:error, :max_concurrent}
    second = holder()
    refute_received {^second, :ok}
    send(first, :release)
    assert_receive {^first, :ok}
    assert_receive {^second, :ok}
    assert :py_semaphore.release() == :ok
    assert :py_semaphore.release() == :ok
    send(second, :release)
    assert_receive {^second, :ok}
    assert :py_semaphore.current() == 0
  end

  test "the end of a process releases what it holds" do
    pids = for _ <- 1..2, do: holder()
    for pid <- pids, do: assert_receive({^pid, :ok})
    waiting = holder()
    for pid <- pids, do: Process.unlink(pid)
    Process.exit(hd(pids), :kill)
    assert_receive {^waiting, :ok}
    for pid <- [waiting | tl(pids)], do: send(pid, :release)
    for pid <- [waiting | tl(pids)], do: assert_receive({^pid, :ok})
  end

  test "a larger limit lets those who wait in" do
    assert :py_semaphore.set_max_concurrent(1) == :ok
    pids = for _ <- 1..2, do: holder()
    assert_receive {first, :ok}
    assert first in pids
    assert :py_semaphore.set_max_concurrent(2) == :ok
    [second] = pids -- [first]
    assert_receive {^second, :ok}
    for pid <- pids, do: send(pid, :release)
    for pid <- pids, do: assert_receive({^pid, :ok})
  end
end
