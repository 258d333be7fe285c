defmodule ErlangPython.Timeout do
  @moduledoc false
  # Timeouts as callers give them: integers of milliseconds, of any size, and `:infinity`.

  # What `receive` and timers take.
  @longest 4_294_967_295

  defguard is_timeout(value) when value == :infinity or (is_integer(value) and value > 0)

  @doc "One that `receive` takes: after 49 days nobody waits any more."
  @spec receivable(timeout()) :: timeout()
  def receivable(timeout) when timeout > @longest, do: :infinity
  def receivable(timeout), do: timeout

  @doc "As `receivable/1`; 0 is one too. Raises `ArgumentError` for what is none."
  @spec check!(term()) :: timeout()
  def check!(timeout) when timeout == 0 or is_timeout(timeout), do: receivable(timeout)

  def check!(other) do
    raise ArgumentError,
          "expected a timeout of milliseconds (0 or more) or :infinity, got: #{inspect(other)}"
  end
end
