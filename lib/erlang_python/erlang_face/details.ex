defmodule ErlangPython.ErlangFace.Details do
  @moduledoc false
  # What a bare reason leaves out goes to the log: once a second for the same text, for its callers may try again at once
  # and for ever. Texts are told apart by their buckets, so that nothing has to be kept of them.

  alias ErlangPython.Error

  @buckets 64
  @interval_ms 1_000

  @spec log(reason :: atom(), Error.t()) :: :ok
  def log(reason, error) do
    text = Exception.message(error)

    # Erlang's own handler drops what comes by Elixir's Logger, and is the only one before that has started.
    if due?(:erlang.phash2(text, @buckets) + 1), do: :logger.error("#{reason}: #{text}")
    :ok
  end

  defp due?(bucket) do
    times = times()
    now = System.monotonic_time(:millisecond)
    last = :atomics.get(times, bucket)

    # 0 before the first.
    (last == 0 or now - last >= @interval_ms) and
      :atomics.compare_exchange(times, bucket, last, now) == :ok
  end

  defp times do
    case :persistent_term.get(__MODULE__, nil) do
      nil ->
        # Two at once may each make some: then a text comes twice.
        times = :atomics.new(@buckets, [])
        :persistent_term.put(__MODULE__, times)
        times

      times ->
        times
    end
  end
end
