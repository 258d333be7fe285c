defmodule Bench.Rows.Idle do
  @moduledoc false
  # What does a pool cost that nobody uses?

  @behaviour Bench.Row

  alias Bench.{Pool, ProcessInfo, Result, Rounds}

  @seconds %{full: 5, quick: 1}
  @rounds %{full: 3, quick: 1}
  # Of one core, for eight workers and what the BEAM does for them. A pool that polls would need more.
  @little {:at_most, 0.005}

  @impl true
  def run(length) do
    if ProcessInfo.available?(), do: measure(length), else: []
  end

  defp measure(length) do
    seconds = @seconds[length]

    rounds =
      Rounds.run(@rounds[length],
        without: fn -> cpu_share([beam()], seconds) end,
        pool: fn -> idle_pool(seconds) end
      )

    [
      Result.compare(
        "CPU of an idle pool of 8 with the BEAM, of one core",
        :share,
        rounds.pool,
        {"the BEAM without a pool", rounds.without},
        absolute: @little
      )
    ]
  end

  defp idle_pool(seconds) do
    Pool.with_pool(:idle, [workers: 8], fn ->
      1..32 |> ErlangPython.map(:math, :sqrt, pool: :idle) |> Stream.run()
      workers = for worker <- ErlangPython.Pool.workers(:idle), do: worker.os_pid
      cpu_share([beam() | workers], seconds)
    end)
  end

  defp cpu_share(os_pids, seconds) do
    before = cpu_time(os_pids)
    Process.send_after(self(), :over, 1_000 * seconds)
    receive do: (:over -> (cpu_time(os_pids) - before) / (seconds * 1.0e9))
  end

  defp cpu_time(os_pids), do: os_pids |> Enum.map(&ProcessInfo.cpu_time/1) |> Enum.sum()
  defp beam, do: String.to_integer(System.pid())
end
