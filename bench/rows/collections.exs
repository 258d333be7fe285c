defmodule Bench.Rows.Collections do
  @moduledoc false
  # What do lists and maps cost, both codecs and both directions together, against pickle?

  @behaviour Bench.Row

  alias Bench.{Baseline, Clock, Pool, Result, Rounds, Stats}

  @rounds %{full: 15, quick: 3}
  @echoes 15

  @impl true
  def run(length) do
    executor = Baseline.start("executor")

    results =
      Pool.with_pool(:collections, [workers: 2], fn ->
        for {name, term, command} <- payloads(), do: row(name, term, command, executor, length)
      end)

    Baseline.stop(executor)
    results
  end

  defp payloads do
    [
      {"10,000 floats", for(n <- 1..10_000, do: n * 1.1), :floats},
      {"1,000 maps of 10 string keys", maps(&"key_#{&1}"), :maps},
      {"1,000 maps of 10 atom keys", maps(&:"key_#{&1}"), :maps}
    ]
  end

  # The same values as in bench/baselines/executor.py.
  defp maps(key) do
    for n <- 1..1_000 do
      Map.new(1..10, fn k -> {key.(k), if(rem(k, 3) == 0, do: "value #{n}", else: n * k)} end)
    end
  end

  defp row(name, term, command, executor, length) do
    ^term = echo(term)

    rounds =
      Rounds.run(@rounds[length],
        call: fn -> Stats.median(Clock.times(@echoes, fn -> echo(term) end)) end,
        executor: fn -> Stats.median(Baseline.ask(executor, [command, @echoes])) end
      )

    baseline = {"`ProcessPoolExecutor`, pickle", rounds.executor}
    Result.compare("echo of #{name}", :time, rounds.call, baseline, target: {:at_most, 1.0})
  end

  defp echo(term), do: Pool.call!(:collections, :__main__, :echo, [term])
end
