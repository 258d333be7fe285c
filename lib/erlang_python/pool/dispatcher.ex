defmodule ErlangPython.Pool.Dispatcher do
  @moduledoc false
  # The queue of a pool: requests that found no worker, oldest first. Ids grow, so an ordered
  # set of ids is the queue, and a request that comes back from a dead worker stands where it
  # stood. Rows live in the pending table; this process holds only ids.

  use GenServer

  alias ErlangPython.Pool.{Directory, Handle, Pending, Slots}

  @spec start_link(Handle.t()) :: GenServer.on_start()
  def start_link(handle), do: GenServer.start_link(__MODULE__, handle)

  @doc "Moves requests that never ran back into the queue, from slots that are already released."
  @spec requeue(Handle.t(), [Pending.id()]) :: :ok
  def requeue(_handle, []), do: :ok

  def requeue(handle, ids) do
    Slots.add_queued(handle, length(ids))
    Directory.notify(handle, :dispatcher, {:requeue, ids})
  end

  @impl true
  def init(handle) do
    # Registered before the look into the table: a caller that still found the old process
    # has inserted its row before that.
    Directory.register(handle, :dispatcher)
    queue = :ets.new(:queue, [:ordered_set, :private])
    ids = Pending.in_slot(handle, 0, 0)
    :ets.insert(queue, Enum.map(ids, &{&1}))
    Slots.put_queued(handle, length(ids))
    {:ok, %{handle: handle, queue: queue}, {:continue, :dispatch}}
  end

  @impl true
  def handle_continue(:dispatch, state), do: {:noreply, dispatch(state)}

  @impl true
  def handle_info({:enqueue, id}, state) do
    :ets.insert(state.queue, {id})
    {:noreply, dispatch(state)}
  end

  def handle_info({:requeue, ids}, state) do
    :ets.insert(state.queue, Enum.map(ids, &{&1}))
    {:noreply, dispatch(state)}
  end

  def handle_info({:free, _slot}, state), do: {:noreply, dispatch(state)}

  def handle_info({:drop, id}, state) do
    leave(state, id)
    {:noreply, dispatch(state)}
  end

  defp dispatch(state) do
    case :ets.first(state.queue) do
      :"$end_of_table" -> state
      id -> dispatch(state, id, Slots.claim(state.handle))
    end
  end

  defp dispatch(state, id, {:ok, slot}) do
    leave(state, id)
    send_to(state.handle, id, slot)
    dispatch(state)
  end

  defp dispatch(state, id, :none) do
    case Directory.circuit(state.handle) do
      nil ->
        state

      error ->
        leave(state, id)
        Pending.finish(state.handle, id, error)
        dispatch(state)
    end
  end

  defp send_to(handle, id, slot) do
    with {generation, _worker, writer} <- Directory.worker(handle, slot),
         {_id, _dest, _tag, _caller, 0, _generation, _sent_at, wire} <-
           Pending.lookup(handle, id),
         true <- Pending.assign(handle, id, slot, generation, System.monotonic_time(:microsecond)) do
      send(writer, {:tx, wire})
      confirm(handle, id, slot, generation)
    else
      nil -> put_back(handle, id, slot)
      false -> Slots.release(handle, slot)
    end
  end

  # Either the request has had its end (its caller gave up) or the worker has just gone.
  defp put_back(handle, id, slot) do
    Slots.release(handle, slot)
    if Pending.member?(handle, id), do: requeue(handle, [id])
  end

  # As in Intake: a worker that died meanwhile may have been collected before this row
  # was its own.
  defp confirm(handle, id, slot, generation) do
    if Slots.generation(handle, slot) != generation and
         Pending.unassign(handle, id, slot, generation),
       do: requeue(handle, [id])
  end

  defp leave(state, id) do
    if :ets.take(state.queue, id) != [], do: Slots.add_queued(state.handle, -1)
  end
end
