defmodule ErlangPython.Pool.Intake.Cancellation do
  @moduledoc false
  # The way of a request out of the pool, when nobody waits for it any more.

  import ErlangPython.Pool.Pending.Row, only: [row: 1]

  alias ErlangPython.Pool.{Directory, Handle, Pending, Queue}

  @doc """
  Takes a request back, because its caller's deadline has passed or the caller died. Answers whether
  it may have run. From now on no answer reaches `dest`.
  """
  @spec cancel(Handle.t(), Pending.id()) :: :no | :maybe
  def cancel(handle, id) do
    if Pending.take_queued(handle, id) do
      Queue.drop(handle, id)
      :no
    else
      cancel_running(handle, id)
    end
  rescue
    error in ArgumentError ->
      Handle.reraise_unless_gone(handle, error, __STACKTRACE__)
      :maybe
  end

  defp cancel_running(handle, id) do
    if Pending.abandon(handle, id) do
      case Pending.lookup(handle, id) do
        # Moved back to the queue since the first look.
        row(place: 0) -> cancel(handle, id)
        row(place: place) -> tell(handle, abs(place), id)
        nil -> :ok
      end
    end

    :maybe
  end

  defp tell(handle, slot, id) do
    with {_generation, worker, _writer} <- Directory.worker(handle, slot),
         do: send(worker, {:cancel, id})
  end
end
