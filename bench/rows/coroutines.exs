defmodule Bench.Rows.Coroutines do
  @moduledoc false
  # How long do two workers need for 2,000 coroutines that each sleep for a second?

  @behaviour Bench.Row

  alias Bench.{Clock, Pool, Result, Rounds}

  @rounds %{full: 5, quick: 1}
  @coroutines 2_000

  @impl true
  def run(length) do
    rounds =
      Pool.with_pool(:coroutines, [workers: 2, max_queue: @coroutines], fn ->
        sleep(10)
        Rounds.run(@rounds[length], sleep: fn -> Clock.time(fn -> sleep(@coroutines) end) end)
      end)

    [
      Result.figure(
        "#{@coroutines} coroutines that sleep for 1 s, 2 workers",
        :time,
        rounds.sleep,
        {:at_most, 2.0e9}
      )
    ]
  end

  defp sleep(count) do
    1..count
    |> Enum.map(fn n -> ErlangPython.async(:asyncio, :sleep, [1, n], pool: :coroutines) end)
    |> Task.await_many(60_000)
    |> Enum.each(fn {:ok, _n} -> :ok end)
  end
end
