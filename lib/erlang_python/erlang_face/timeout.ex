defmodule ErlangPython.ErlangFace.Timeout do
  @moduledoc false
  # Timeouts as Erlang code gives them: positive integers of milliseconds, of any size, and `infinity`.

  # What `receive` and timers take.
  @longest 4_294_967_295

  defguard is_timeout(value) when value == :infinity or (is_integer(value) and value > 0)

  @doc "One that `receive` takes: after 49 days nobody waits any more."
  @spec receivable(timeout()) :: timeout()
  def receivable(timeout) when timeout > @longest, do: :infinity
  def receivable(timeout), do: timeout
end
