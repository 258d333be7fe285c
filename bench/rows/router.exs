defmodule Bench.Rows.Router do
  @moduledoc false
  # What does ZMTP in Elixir cost, against libzmq's own ROUTER with the same peer?

  @behaviour Bench.Row

  alias Bench.{Baseline, Clock, Result, Rounds, Stats, ZmtpEcho}

  @rounds %{full: 15, quick: 3}
  @echoes %{full: 2_000, quick: 500}
  @payload :binary.copy("x", 64)

  @impl true
  def run(length) do
    pyzmq = Baseline.start("pyzmq_echo")
    router = ZmtpEcho.start()
    echoes = @echoes[length]

    rounds =
      Rounds.run(@rounds[length],
        elixir: fn ->
          for _ <- 1..echoes, do: Clock.time(fn -> ZmtpEcho.echo(router, @payload) end)
        end,
        pyzmq: fn -> Baseline.ask(pyzmq, [:latency, echoes]) end
      )

    ZmtpEcho.stop(router)
    Baseline.stop(pyzmq)
    [elixir, pyzmq] = for name <- [:elixir, :pyzmq], do: Enum.map(rounds[name], &Stats.median/1)

    [
      Result.compare(
        "echo of 64 bytes, ROUTER in Elixir",
        :time,
        elixir,
        {"pyzmq echo", pyzmq},
        target: {:at_most, 0.65}
      )
    ]
  end
end
