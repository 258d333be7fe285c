defmodule ErlangPython.Pool.Failures do
  @moduledoc false
  # Workers of a pool that failed to start, or died before they served, one after the other (pure): how long to wait before
  # the next try, and whether callers get the error instead of waiting.

  alias ErlangPython.Error

  @first_ms 100
  @longest_ms 30_000

  # So many in a row are enough. A pool that never had a worker is not going to be whole by itself: there
  # one is.
  @before_circuit 3

  # How long the log says nothing more of a row.
  @silence_ms 60_000

  # `unused` are those that were ready.
  defstruct in_row: 0, unused: 0, error: nil, had_worker?: false, told_at: nil

  @type t :: %__MODULE__{
          in_row: non_neg_integer(),
          unused: non_neg_integer(),
          error: Error.t() | nil,
          had_worker?: boolean(),
          told_at: integer() | nil
        }

  @spec new() :: t()
  def new, do: %__MODULE__{}

  @doc "A worker is ready."
  @spec over(t()) :: t()
  def over(failures), do: %{failures | in_row: 0, error: nil, had_worker?: true, told_at: nil}

  @doc "One could not start."
  @spec failed(t(), Error.t()) :: t()
  def failed(failures, error), do: %{failures | in_row: failures.in_row + 1, error: error}

  @doc "One that has ended had served, or was told to end."
  @spec served(t()) :: t()
  def served(failures), do: %{failures | unused: 0}

  @doc "One was ready and died unused: starting it again at once might be a busy loop, unless it had lived long."
  @spec died_unused(t(), lived_ms :: non_neg_integer()) :: t()
  def died_unused(failures, lived_ms) when lived_ms >= @longest_ms, do: served(failures)
  def died_unused(failures, _lived_ms), do: %{failures | unused: failures.unused + 1}

  @doc "Is it of no use to wait for a worker, if none is there?"
  @spec hopeless?(t()) :: boolean()
  def hopeless?(failures),
    do: not failures.had_worker? or failures.in_row + failures.unused >= @before_circuit

  @doc "Is it time to tell of them: the first in a row, and then one a minute? `now` in milliseconds."
  @spec due?(t(), integer()) :: boolean()
  def due?(%{told_at: nil}, _now), do: true
  def due?(%{told_at: told_at}, now), do: now - told_at >= @silence_ms

  @spec told(t(), integer()) :: t()
  def told(failures, now), do: %{failures | told_at: now}

  @doc """
  Milliseconds until the next try, more with each failure; `random` in 0.0..1.0 spreads the tries of many workers over
  the upper half of the wait.
  """
  @spec wait_ms(t(), float()) :: non_neg_integer()
  def wait_ms(%{in_row: 0, unused: 0}, _random), do: 0

  def wait_ms(%{in_row: in_row, unused: unused}, random) do
    full = min(@first_ms * Integer.pow(2, min(in_row + unused - 1, 16)), @longest_ms)
    round(full * (0.5 + random / 2))
  end
end
