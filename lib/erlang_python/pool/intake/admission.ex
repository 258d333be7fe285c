defmodule ErlangPython.Pool.Intake.Admission do
  @moduledoc false
  # Whether a request may come into the pool at all: not into one that stops, nor beyond `:max_concurrent`. It is counted
  # off by whoever takes its row out of the pending table (`Pending.take/2`), or by `leave/1` if it got none.

  alias ErlangPython.Callbacks.Origin
  alias ErlangPython.Error
  alias ErlangPython.Pool.{Handle, NoPool, Slots}

  @spec enter(Handle.t(), Origin.t() | nil) :: :ok | {:error, Error.t()}
  def enter(handle, origin) do
    if Slots.closed?(handle) and origin == nil and Origin.ancestor(handle) == nil,
      do: {:error, NoPool.stopping(handle)},
      else: admit(handle, origin)
  end

  defp admit(%{options: %{max_concurrent: :infinity}}, _origin), do: :ok

  defp admit(%{options: %{max_concurrent: max}} = handle, origin) do
    case Slots.add_admitted(handle, 1) do
      current when current <= max ->
        :ok

      # The limit is for those who come anew: the request that made the callback is in already.
      current ->
        if origin || Origin.ancestor(handle) do
          :ok
        else
          leave(handle)
          {:error, overloaded(handle, "at once", current - 1, max)}
        end
    end
  end

  @doc "Counts what goes on with a request that was admitted, and is never refused."
  @spec go_on(Handle.t()) :: term()
  def go_on(%{options: %{max_concurrent: :infinity}}), do: :ok
  def go_on(handle), do: Slots.add_admitted(handle, 1)

  @doc "One that was counted does not come in after all."
  @spec leave(Handle.t()) :: term()
  def leave(%{options: %{max_concurrent: :infinity}}), do: :ok
  def leave(handle), do: Slots.add_admitted(handle, -1)

  @spec overloaded(Handle.t(), String.t(), non_neg_integer(), non_neg_integer()) :: Error.t()
  def overloaded(handle, where, current, max) do
    requests = if current == 1, do: "request", else: "requests"

    %Error{
      kind: :overloaded,
      message:
        "the pool #{inspect(handle.name)} has #{current} #{requests} #{where}, its limit is #{max}",
      executed: :no,
      details: %{current: current, max: max}
    }
  end
end
