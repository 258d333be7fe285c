defmodule ErlangPython.Pool.Backoff do
  @moduledoc false
  # How long to wait before a worker is started again (pure). A worker that served and died is
  # replaced at once; one that failed to start waits, longer each time.

  @first_ms 100
  @longest_ms 30_000

  @doc """
  Milliseconds before attempt `failures + 1`; `random` in 0.0..1.0 spreads the attempts of many
  workers over the upper half of the wait.
  """
  @spec wait_ms(non_neg_integer(), float()) :: non_neg_integer()
  def wait_ms(0, _random), do: 0

  def wait_ms(failures, random) do
    full = min(@first_ms * Integer.pow(2, min(failures - 1, 16)), @longest_ms)
    round(full * (0.5 + random / 2))
  end
end
