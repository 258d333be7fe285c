defmodule Bench.Rows.Recovery do
  @moduledoc false
  # How soon does the caller know that its worker died, and how soon is there another?

  @behaviour Bench.Row

  alias Bench.{Clock, Pool, Result, Rounds}

  @rounds %{full: 15, quick: 3}

  @impl true
  def run(length) do
    rounds = Rounds.run(@rounds[length], life: &life/0).life

    [starts, errors, nexts] =
      for part <- [:start, :error, :next], do: Enum.map(rounds, & &1[part])

    [
      Result.figure("segfault to error", :time, errors, {:at_most, 20.0e6}),
      Result.compare(
        "segfault to the next worker's first result",
        :time,
        nexts,
        {"a pool of 1, start to first result", starts},
        target: {:at_most, 1.3}
      )
    ]
  end

  # Start and replacement in turn, in a pool of one: only a new worker can serve the last call.
  defp life do
    started = Clock.now()
    Pool.start(:recovery, workers: 1, preload: [:ctypes])
    call()
    start = Clock.now() - started

    died = Clock.now()
    {:error, %{kind: :worker_exit}} = ErlangPython.call(:ctypes, :string_at, [0], pool: :recovery)
    error = Clock.now() - died
    call()
    next = Clock.now() - died

    ErlangPython.Pool.stop(:recovery)
    %{start: start, error: error, next: next}
  end

  defp call, do: 4.0 = Pool.call!(:recovery, :math, :sqrt, [16])
end
