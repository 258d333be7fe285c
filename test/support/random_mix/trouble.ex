defmodule ErlangPython.RandomMix.Trouble do
  @moduledoc false
  # Restarts, scales and kills the workers of a pool at random, and runs requests in all of them.

  alias ErlangPython.Pool

  @doc "Until that time; the pool has its workers afterwards."
  def make(pool, workers, seed, until) do
    :rand.seed(:exsss, {seed, 0, 0})
    make(pool, workers, until)
  end

  defp make(pool, workers, until) do
    if System.monotonic_time(:millisecond) < until do
      case :rand.uniform(7) do
        1 -> Pool.restart(pool)
        2 -> Pool.scale(pool, :rand.uniform(workers + 1))
        # It waits for workers that wait themselves.
        3 -> spawn_link(fn -> {:ok, _results} = Pool.broadcast(pool, {:exec, "pass"}) end)
        _ -> kill(pool)
      end

      Process.sleep(:rand.uniform(500))
      make(pool, workers, until)
    else
      Pool.scale(pool, workers)
    end
  end

  defp kill(pool) do
    with [_ | _] = workers <-
           for(%{os_pid: pid} when is_integer(pid) <- Pool.workers(pool), do: pid) do
      # It may have gone since.
      System.cmd("kill", ["-9", "#{Enum.random(workers)}"], stderr_to_stdout: true)
    end
  end
end
