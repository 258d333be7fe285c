defmodule Bench.Rows.Throughput do
  @moduledoc false
  # How many small calls are answered in a second, when many processes call at once?

  @behaviour Bench.Row

  alias Bench.{Baseline, Clock, Pool, Result, Rounds}

  @rounds %{full: 11, quick: 3}
  @calls %{full: 32_000, quick: 8_000}
  @window 64

  # Workers give the BEAM precedence where the system lets them: what does that bring?
  @as_any_process """
  import os
  if hasattr(os, "SCHED_OTHER"):
      os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
  """

  @impl true
  def run(length) do
    pyzmq = Baseline.start("pyzmq_echo")
    executor = Baseline.start("executor")
    calls = @calls[length]

    rounds =
      Pool.with_pool(:throughput, [workers: 2], fn ->
        Pool.with_pool(:as_any, [workers: 2, preload: [{:code, @as_any_process}]], fn ->
          Rounds.run(@rounds[length],
            callers_64: fn -> calls_per_second(:throughput, 64, calls) end,
            pyzmq: fn -> hd(Baseline.ask(pyzmq, [:throughput, calls, @window])) end,
            callers_1000: fn -> calls_per_second(:throughput, 1_000, calls) end,
            submit: fn -> hd(Baseline.ask(executor, [:submit, div(calls, 10)])) end,
            map: fn -> hd(Baseline.ask(executor, [:map, div(calls, 10)])) end,
            as_any: fn -> calls_per_second(:as_any, 64, calls) end
          )
        end)
      end)

    Enum.each([pyzmq, executor], &Baseline.stop/1)
    # Whichever way it is faster.
    executor = Enum.zip_with(rounds.submit, rounds.map, &max/2)

    beside =
      for {name, callers} <- [callers_64: "64", callers_1000: "1,000"],
          {baseline, theirs, target} <- [
            {"pyzmq echo, window of #{@window}", rounds.pyzmq, 1.0},
            {"`ProcessPoolExecutor`", executor, 10.0}
          ] do
        target = {:at_least, target}
        Result.compare(what(callers), :calls, rounds[name], {baseline, theirs}, target: target)
      end

    as_any = {"workers that are scheduled as any process", rounds.as_any}
    beside ++ [Result.compare(what("64"), :calls, rounds.callers_64, as_any)]
  end

  defp what(callers), do: "calls, #{callers} callers, 2 workers"

  # The callers are there before the clock runs.
  defp calls_per_second(pool, callers, calls) do
    each = div(calls, callers)
    tasks = for _ <- 1..callers, do: Task.async(fn -> call_when_told(pool, each) end)

    elapsed =
      Clock.time(fn ->
        for task <- tasks, do: send(task.pid, :go)
        Task.await_many(tasks, :infinity)
      end)

    each * callers / elapsed * 1.0e9
  end

  defp call_when_told(pool, count) do
    receive do: (:go -> :ok)
    for _ <- 1..count//1, do: Pool.call!(pool, :math, :sqrt, [16])
  end
end
