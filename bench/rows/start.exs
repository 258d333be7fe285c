defmodule Bench.Rows.Start do
  @moduledoc false
  # How long does a pool take from nothing to its first result?

  @behaviour Bench.Row

  alias Bench.{Baseline, Clock, Pool, Result, Rounds}

  @rounds %{full: 15, quick: 3}
  @within {:at_most, 150.0e6}

  @impl true
  def run(length) do
    rounds =
      Rounds.run(@rounds[length],
        one: fn -> first_result(1) end,
        bare: fn -> Baseline.run_time("pass") end,
        two: fn -> first_result(2) end,
        imports: fn -> Baseline.run_time("import zmq, msgpack") end
      )

    bare = {"`python -c pass`, start to end", rounds.bare}
    imports = {"`python -c 'import zmq, msgpack'`, start to end", rounds.imports}

    [
      Result.compare("pool of 1, start to first result", :time, rounds.one, bare,
        absolute: @within
      ),
      Result.compare("pool of 1, start to first result", :time, rounds.one, imports,
        absolute: @within
      ),
      Result.compare("pool of 2, start to first result", :time, rounds.two, imports)
    ]
  end

  # The pool's end is not timed.
  defp first_result(workers) do
    start = Clock.now()
    Pool.start(:start, workers: workers, preload: [])
    4.0 = Pool.call!(:start, :math, :sqrt, [16])
    elapsed = Clock.now() - start
    ErlangPython.Pool.stop(:start)
    elapsed
  end
end
