defmodule Bench.Rows.Idle do
  @moduledoc false
  # What does a pool cost that nobody uses?

  @behaviour Bench.Row

  alias Bench.{Pool, ProcessInfo, Result, Rounds}

  @seconds %{full: 4, quick: 1}
  @rounds %{full: 3, quick: 1}
  # Of one core, for eight workers and the BEAM, which wakes by itself some dozen times a second.
  @little {:at_most, 0.01}

  @impl true
  def run(length) do
    if ProcessInfo.available?(), do: measure(length), else: []
  end

  defp measure(length) do
    seconds = @seconds[length]

    rounds =
      Rounds.run(@rounds[length],
        without: fn -> hd(cpu_shares([beam()], seconds)) end,
        pool: fn -> idle_pool(seconds) end
      )

    [workers, all] = for part <- [:workers, :all], do: Enum.map(rounds.pool, & &1[part])

    [
      Result.figure("CPU of 8 idle workers, of one core", :share, workers),
      Result.compare(
        "CPU of 8 idle workers and the BEAM, of one core",
        :share,
        all,
        {"the BEAM without a pool", rounds.without},
        absolute: @little
      )
    ]
  end

  defp idle_pool(seconds) do
    Pool.with_pool(:idle, [workers: 8], fn ->
      1..32 |> ErlangPython.map(:math, :sqrt, pool: :idle) |> Stream.run()
      workers = for worker <- ErlangPython.Pool.workers(:idle), do: worker.os_pid
      # What the start has left to do is over after the first of two.
      _settling = cpu_shares([beam() | workers], seconds)
      [beam | workers] = cpu_shares([beam() | workers], seconds)
      %{workers: Enum.sum(workers), all: beam + Enum.sum(workers)}
    end)
  end

  defp cpu_shares(os_pids, seconds) do
    before = Enum.map(os_pids, &ProcessInfo.cpu_time/1)
    Process.send_after(self(), :over, 1_000 * seconds)
    receive do: (:over -> :ok)

    os_pids
    |> Enum.map(&ProcessInfo.cpu_time/1)
    |> Enum.zip_with(before, &((&1 - &2) / (seconds * 1.0e9)))
  end

  defp beam, do: String.to_integer(System.pid())
end
