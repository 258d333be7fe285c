defmodule Bench.Rows.Memory do
  @moduledoc false
  # How much memory does an idle worker take?

  @behaviour Bench.Row

  alias Bench.{Baseline, Pool, ProcessInfo, Result, Rounds}

  @rounds %{full: 5, quick: 1}
  # As many of each, since processes share pages.
  @processes 2

  @idle "import sys, zmq, msgpack; zmq.Context(); print(flush=True); sys.stdin.read()"

  @impl true
  def run(length) do
    if ProcessInfo.available?(), do: measure(length), else: []
  end

  defp measure(length) do
    rounds = Rounds.run(@rounds[length], worker: &workers/0, python: &pythons/0)
    baseline = {"`python -c 'import zmq, msgpack'`", List.flatten(rounds.python)}

    [
      Result.compare(
        "PSS of an idle worker",
        :bytes,
        List.flatten(rounds.worker),
        baseline,
        absolute: {:at_most, 12.0e6}
      )
    ]
  end

  defp workers do
    Pool.with_pool(:memory, [workers: @processes, preload: []], fn ->
      # A call in each: what the first one imports belongs to an idle worker.
      1..(4 * @processes) |> ErlangPython.map(:math, :sqrt, pool: :memory) |> Stream.run()
      for worker <- ErlangPython.Pool.workers(:memory), do: ProcessInfo.pss(worker.os_pid)
    end)
  end

  defp pythons do
    ports = for _ <- 1..@processes, do: Baseline.open(["-c", @idle])
    Enum.each(ports, &Baseline.line/1)
    sizes = for port <- ports, do: ProcessInfo.pss(Baseline.os_pid(port))
    Enum.each(ports, &Baseline.stop/1)
    sizes
  end
end
