defmodule Bench.Rows.Cores do
  @moduledoc false
  # Do two workers use two cores?

  @behaviour Bench.Row

  alias Bench.{Baseline, Clock, Pool, Result, Rounds}

  @rounds %{full: 7, quick: 2}
  @task_ns %{full: 200.0e6, quick: 50.0e6}
  @tasks 8
  @sample 1_000_000

  @impl true
  def run(length) do
    executor = Baseline.start("executor")
    forks = Baseline.start("forks")

    rounds =
      Pool.with_pool(:one, [workers: 1], fn ->
        Pool.with_pool(:two, [workers: 2], fn -> rounds(length, executor, forks) end)
      end)

    Enum.each([executor, forks], &Baseline.stop/1)
    what = "#{@tasks} tasks of #{round(@task_ns[length] / 1.0e6)} ms of CPU, 2 workers"

    [
      Result.compare(what, :time, rounds.two, {"one after another in one worker", rounds.one},
        ratio: :theirs_by_mine,
        target: {:at_least, 1.9}
      ),
      Result.compare(
        what,
        :time,
        rounds.two,
        {"`ProcessPoolExecutor`, 2 workers", rounds.executor},
        ratio: :theirs_by_mine
      ),
      Result.compare(
        what,
        :time,
        rounds.two,
        {"two processes, nothing between them", rounds.forks},
        ratio: :theirs_by_mine
      )
    ]
  end

  defp rounds(length, executor, forks) do
    spins = calibrate(@task_ns[length])

    Rounds.run(@rounds[length],
      one: fn -> Clock.time(fn -> for _ <- 1..@tasks, do: spin(spins) end) end,
      two: fn -> Clock.time(fn -> map(spins) end) end,
      executor: fn -> hd(Baseline.ask(executor, [:spins, @tasks, spins])) end,
      forks: fn -> hd(Baseline.ask(forks, [:spins, @tasks, spins])) end
    )
  end

  defp calibrate(task_ns) do
    fastest = 5 |> Clock.times(fn -> spin(@sample) end) |> Enum.min()
    round(@sample * task_ns / fastest)
  end

  defp spin(spins), do: Pool.call!(:one, :__main__, :spin, [spins])

  defp map(spins) do
    List.duplicate(spins, @tasks)
    |> ErlangPython.map(:__main__, :spin, pool: :two, on_error: :raise)
    |> Stream.run()
  end
end
