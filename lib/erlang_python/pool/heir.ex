defmodule ErlangPython.Pool.Heir do
  @moduledoc false
  # Publishes pools, and is the heir of their pending tables: when a pool ends, in whatever way, its name
  # is taken away and the requests still open in it get their end here, so that no caller waits for
  # a pool that is gone.

  use GenServer

  alias ErlangPython.Pool.{Handle, NoPool, Pending, Slots}

  @spec start_link(term()) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc """
  Makes the heir that of a pool, and publishes the pool. Called by the owner of its tables, at its start
  and whenever the heir that it knew is gone. Gives the heir.
  """
  @spec adopt(Handle.t()) :: {:ok, pid()} | :error
  def adopt(handle) do
    with heir when is_pid(heir) <- Process.whereis(__MODULE__) do
      :ets.setopts(handle.pending, {:heir, heir, handle})
      GenServer.call(heir, {:publish, handle})
      {:ok, heir}
    else
      nil -> :error
    end
  catch
    :exit, _it_has_ended -> :error
  end

  @doc "Takes the pool's name away: nobody finds it any more."
  @spec withdraw(Handle.t()) :: :ok
  def withdraw(handle) do
    GenServer.call(__MODULE__, {:withdraw, handle})
  catch
    # None is there, and no later pool of this name as long as its supervisor has that.
    :exit, _reason -> Handle.withdraw(handle)
  end

  @impl true
  def init(nil) do
    # Pools that ended while there was no heir. Who found their handles would never start them anew.
    Enum.each(Handle.published(), &if(Handle.gone?(&1), do: Handle.withdraw(&1)))
    {:ok, nil}
  end

  @impl true
  def handle_call({:publish, handle}, _from, state), do: {:reply, Handle.publish(handle), state}
  def handle_call({:withdraw, handle}, _from, state), do: {:reply, Handle.withdraw(handle), state}

  @impl true
  def handle_info({:"ETS-TRANSFER", table, _owner, handle}, state) do
    # Closed first: a caller that inserts after this sees it (Intake.confirm_queued).
    Slots.close(handle)
    Handle.withdraw(handle)

    for {id, slot} <- Pending.places(handle) do
      executed = if slot == 0, do: :no, else: :maybe
      Pending.finish(handle, id, NoPool.stopped(handle, executed))
    end

    :ets.delete(table)
    {:noreply, state}
  end
end
