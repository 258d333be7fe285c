defmodule Bench.Clock do
  @moduledoc false
  # Everything that is timed here is timed in nanoseconds.

  @spec now() :: integer()
  def now, do: System.monotonic_time(:nanosecond)

  @spec time((... -> term())) :: non_neg_integer()
  def time(run) do
    start = now()
    run.()
    now() - start
  end

  @spec times(pos_integer(), (... -> term())) :: [non_neg_integer()]
  def times(count, run), do: in_process(fn -> for _ <- 1..count, do: time(run) end)

  @doc "The mean of `count` runs, for what is too short to be timed alone."
  @spec mean(pos_integer(), (... -> term())) :: float()
  def mean(count, run), do: in_process(fn -> time(fn -> repeat(run, count) end) / count end)

  # A process of its own, so that no round pays for the garbage of another.
  defp in_process(fun), do: fun |> Task.async() |> Task.await(:infinity)

  defp repeat(_run, 0), do: :ok

  defp repeat(run, count) do
    run.()
    repeat(run, count - 1)
  end
end
