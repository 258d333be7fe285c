defmodule Bench.Rows.Interrupt do
  @moduledoc false
  # How late is a timeout, and how soon after it does the worker serve others?

  @behaviour Bench.Row

  alias Bench.{Clock, Pool, Result, Rounds}

  @rounds %{full: 31, quick: 5}
  @timeout 20
  @soon {:at_most, 50.0e6}

  @loop """
  while True:
      pass
  """

  @impl true
  def run(length) do
    rounds =
      Pool.with_pool(:interrupt, [workers: 1], fn ->
        before = os_pid()

        rounds =
          Rounds.run(@rounds[length],
            sleep: fn -> interrupt(&ErlangPython.call(:time, :sleep, [60], &1)) end,
            loop: fn -> interrupt(&ErlangPython.exec(@loop, %{}, &1)) end
          )

        # Interrupted, not replaced.
        ^before = os_pid()
        rounds
      end)

    [
      Result.figure(
        "timeout of `time.sleep(60)`: deadline to error",
        :time,
        of(rounds.sleep, :error)
      ),
      Result.figure(
        "timeout of `time.sleep(60)`: deadline to the worker's next result",
        :time,
        of(rounds.sleep, :next),
        @soon
      ),
      Result.figure(
        "timeout of `while True: pass`: deadline to the worker's next result",
        :time,
        of(rounds.loop, :next),
        @soon
      )
    ]
  end

  defp interrupt(request) do
    deadline = Clock.now() + @timeout * 1_000_000
    {:error, %{kind: :timeout}} = request.(pool: :interrupt, timeout: @timeout)
    error = Clock.now() - deadline
    Pool.call!(:interrupt, :math, :sqrt, [16])
    %{error: error, next: Clock.now() - deadline}
  end

  defp os_pid, do: hd(ErlangPython.Pool.workers(:interrupt)).os_pid
  defp of(rounds, part), do: Enum.map(rounds, & &1[part])
end
