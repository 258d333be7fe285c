defmodule Bench.Rows.Latency do
  @moduledoc false
  # How long does one small call take, when nobody else calls?

  @behaviour Bench.Row

  alias Bench.{Baseline, Clock, Pool, Result, Rounds, Stats}

  @rounds %{full: 25, quick: 3}
  @calls %{full: 2_000, quick: 500}

  # A worker's thread looks for its next request a little while: what does that bring?
  @sleep_at_once """
  from erlang_python_worker import _spin
  _spin._offer = None
  """

  @impl true
  def run(length) do
    pyzmq = Baseline.start("pyzmq_echo")
    executor = Baseline.start("executor")
    calls = @calls[length]

    rounds =
      Pool.with_pool(:latency, [workers: 2], fn ->
        Pool.with_pool(:sleepers, [workers: 2, preload: [{:code, @sleep_at_once}]], fn ->
          Rounds.run(@rounds[length],
            call: fn -> times(:latency, calls) end,
            pyzmq: fn -> Baseline.ask(pyzmq, [:latency, calls]) end,
            executor: fn -> Baseline.ask(executor, [:latency, div(calls, 4)]) end,
            sleepers: fn -> times(:sleepers, calls) end
          )
        end)
      end)

    Enum.each([pyzmq, executor], &Baseline.stop/1)
    results(rounds)
  end

  defp times(pool, calls),
    do: Clock.times(calls, fn -> Pool.call!(pool, :math, :sqrt, [16]) end)

  defp results(rounds) do
    [call, pyzmq, executor, sleepers] =
      for name <- [:call, :pyzmq, :executor, :sleepers],
          do: Enum.map(rounds[name], &Stats.median/1)

    p99 = Enum.map(rounds.call, &Stats.quantile(&1, 0.99))
    what = "call p50, one caller, `math.sqrt(16)`"
    echo = {"pyzmq echo of 64 bytes", pyzmq}
    submit = {"`ProcessPoolExecutor`", executor}
    p50 = {"its p50", call}

    [
      Result.compare(what, :time, call, echo, target: {:at_most, 0.9}),
      Result.compare(what, :time, call, submit, target: {:at_most, 0.3}),
      Result.compare("call p99, one caller", :time, p99, p50, target: {:at_most, 4}),
      Result.compare(what, :time, call, {"workers that sleep at once", sleepers})
    ]
  end
end
