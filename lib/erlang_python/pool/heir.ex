defmodule ErlangPython.Pool.Heir do
  @moduledoc false
  # Heir of the pending table of every pool. When a pool ends, in whatever way, the requests still open
  # in it get their end here, so that no caller waits for a pool that is gone.

  use GenServer

  alias ErlangPython.Error
  alias ErlangPython.Pool.{Handle, Pending, Slots}

  @spec start_link(term()) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Called by the owner of the pool's tables."
  @spec adopt(Handle.t()) :: true
  def adopt(handle),
    do: :ets.setopts(handle.pending, {:heir, Process.whereis(__MODULE__), handle})

  @impl true
  def init(nil), do: {:ok, nil}

  @impl true
  def handle_info({:"ETS-TRANSFER", table, _owner, handle}, state) do
    # Closed first: a caller that inserts after this sees it (Intake.confirm_open).
    Slots.close(handle)
    Handle.withdraw(handle)
    Enum.each(Pending.all(handle), &Pending.finish(handle, &1, stopped(handle, &1)))
    :ets.delete(table)
    {:noreply, state}
  end

  defp stopped(handle, id) do
    slot =
      case Pending.lookup(handle, id) do
        nil -> 0
        row -> elem(row, 4)
      end

    %Error{
      kind: :no_pool,
      message: "the pool #{inspect(handle.name)} has stopped",
      executed: if(slot == 0, do: :no, else: :maybe),
      details: %{pool: handle.name}
    }
  end
end
