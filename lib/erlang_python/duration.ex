defmodule ErlangPython.Duration do
  @moduledoc """
  A length of time, Python's `datetime.timedelta`, for Elixir versions before 1.17.

      iex> duration = %ErlangPython.Duration{microseconds: 90_000_000}
      iex> ErlangPython.eval!("duration.total_seconds()", duration: duration)
      90.0

  From Elixir 1.17 on, `Duration` travels in both directions and a `timedelta` comes back as
  one. This struct is accepted everywhere, and is what comes back where Elixir has no `Duration`.
  """

  @enforce_keys [:microseconds]
  defstruct [:microseconds]

  @type t :: %__MODULE__{microseconds: integer()}
end
