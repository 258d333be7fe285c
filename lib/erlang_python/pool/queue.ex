defmodule ErlangPython.Pool.Queue do
  @moduledoc false
  # Requests that found no worker, oldest first: a table of their ids. Ids grow, so a request
  # that comes back from a dead worker stands where it stood.
  #
  # Any process may put an id in. Only processes of the pool take one out to send it on
  # (`fill/4`, `dispatch/1`): a caller can be killed at any point, and must not have
  # somebody else's request in its hands then. Who takes an id out of the table, for whatever
  # reason, takes it off the `queued` counter.

  alias ErlangPython.Pool.{Directory, Handle, Pending, Slots}

  @spec new() :: :ets.table()
  def new, do: :ets.new(__MODULE__, [:ordered_set, :public, write_concurrency: true])

  @doc """
  Puts in a request that `queued` counts already and whose row has no slot. The pool is told if
  a worker became free meanwhile, so that none idles while a request waits.
  """
  @spec enqueue(Handle.t(), Pending.id()) :: term()
  def enqueue(%{queue: table} = handle, id) do
    :ets.insert(table, {id})
    if Slots.free?(handle), do: Directory.notify(handle, :manager, :dispatch)
  end

  @doc "Puts requests back that had been sent to a worker and never ran."
  @spec requeue(Handle.t(), [Pending.id()]) :: :ok
  def requeue(_handle, []), do: :ok

  def requeue(%{queue: table} = handle, ids) do
    Slots.add_queued(handle, length(ids))
    :ets.insert(table, Enum.map(ids, &{&1}))
    dispatch(handle)
  end

  @doc "Takes a request out, if it is still there, because its end has come."
  @spec drop(Handle.t(), Pending.id()) :: boolean()
  def drop(%{queue: table} = handle, id) do
    if :ets.take(table, id) == [] do
      false
    else
      Slots.add_queued(handle, -1)
      true
    end
  end

  @spec member?(Handle.t(), Pending.id()) :: boolean()
  def member?(%{queue: table}, id), do: :ets.member(table, id)

  @spec size(Handle.t()) :: non_neg_integer()
  def size(%{queue: table}), do: :ets.info(table, :size)

  @doc "Gives one worker as many requests as it has room for."
  @spec fill(Handle.t(), Slots.slot(), pos_integer(), writer :: pid()) :: :ok
  def fill(handle, slot, generation, writer) do
    if Slots.claim_slot(handle, slot) do
      case pop(handle) do
        nil ->
          Slots.release(handle, slot)
          # Who came in between saw the worker taken, and told nobody.
          if empty?(handle), do: :ok, else: fill(handle, slot, generation, writer)

        id ->
          send_to(handle, id, slot, generation, writer)
          fill(handle, slot, generation, writer)
      end
    else
      :ok
    end
  end

  @doc "Gives requests to free workers while there are both."
  @spec dispatch(Handle.t()) :: :ok
  def dispatch(handle) do
    unless empty?(handle) do
      with {:ok, slot} <- Slots.claim(handle) do
        case pop(handle) do
          nil -> Slots.release(handle, slot)
          id -> send_to(handle, id, slot)
        end

        dispatch(handle)
      end
    end

    :ok
  end

  @doc "Takes the oldest request out."
  @spec pop(Handle.t()) :: Pending.id() | nil
  def pop(%{queue: table} = handle) do
    case :ets.first(table) do
      :"$end_of_table" -> nil
      id -> if drop(handle, id), do: id, else: pop(handle)
    end
  end

  defp empty?(%{queue: table}), do: :ets.first(table) == :"$end_of_table"

  defp send_to(handle, id, slot) do
    case Directory.worker(handle, slot) do
      {generation, _worker, writer} ->
        send_to(handle, id, slot, generation, writer)

      # It has just gone.
      nil ->
        Slots.release(handle, slot)
        if Pending.member?(handle, id), do: requeue(handle, [id])
    end
  end

  defp send_to(handle, id, slot, generation, writer) do
    now = System.monotonic_time(:microsecond)

    with {:ok, wire} <- Pending.assign(handle, id, slot, generation, now) do
      send(writer, {:tx, wire})
      confirm(handle, id, slot, generation)
    end
  end

  # As in Intake: the rows of a worker that died meanwhile may have been collected before
  # this one was among them.
  defp confirm(handle, id, slot, generation) do
    if Slots.generation(handle, slot) != generation and
         Pending.unassign(handle, id, slot, generation),
       do: requeue(handle, [id])
  end
end
