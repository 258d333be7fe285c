defmodule ErlangPython.Pool.Intake do
  @moduledoc false
  # The way of a request into the pool and, when its caller gives up, out of it. Runs in the
  # caller's process.

  alias ErlangPython.Error
  alias ErlangPython.Pool.{Callers, Directory, Handle, Pending, Queue, Slots}

  @type request :: %{
          id: Pending.id(),
          wire: iodata(),
          dest: reference() | pid(),
          tag: term(),
          caller: pid(),
          watch: :waiting | :always
        }

  @typedoc """
  Where a request went: to an idle worker, behind others of a worker that is still within its window, or
  into the queue.
  """
  @type place :: :alone | :behind | :queued

  @doc """
  Hands a request to a free worker, or to the queue. After `{:ok, place}` the request's `dest` gets
  exactly one `{tag, frames}` or `{tag, error}`, unless it is cancelled first.
  """
  @spec submit(Handle.t(), request()) :: {:ok, place()} | {:error, Error.t()}
  def submit(handle, request) do
    with :ok <- check_open(handle),
         :ok <- admit(handle) do
      Callers.watch(handle, request.caller, request.watch)
      # Whoever comes while others queue goes behind them.
      claimed = if Slots.queued(handle) > 0, do: :none, else: Slots.claim(handle)
      place(handle, request, claimed)
    end
  rescue
    error in ArgumentError ->
      if gone?(handle),
        do: {:error, stopped(handle, :no)},
        else: reraise(error, __STACKTRACE__)
  end

  # The tables go with the pool, at any moment; the pending table last, when the heir has ended all that
  # is in it. A caller whose row came even later finds out by itself.
  defp gone?(handle), do: Enum.any?(Handle.tables(handle), &(:ets.info(&1) == :undefined))

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
      if gone?(handle), do: :maybe, else: reraise(error, __STACKTRACE__)
  end

  defp cancel_running(handle, id) do
    if Pending.abandon(handle, id) do
      case Pending.lookup(handle, id) do
        # Moved back to the queue since the first look.
        {_id, _dest, _tag, _caller, 0, _generation, _sent_at, _wire} ->
          cancel(handle, id)

        {_id, _dest, _tag, _caller, place, _generation, _sent_at, _wire} ->
          tell(handle, abs(place), id)

        nil ->
          :ok
      end
    end

    :maybe
  end

  defp tell(handle, slot, id) do
    with {_generation, worker, _writer} <- Directory.worker(handle, slot),
         do: send(worker, {:cancel, id})
  end

  # A worker that has not answered for so long is held up by the request that it runs, and what waits
  # behind that had better go elsewhere: twice what the window promises. A worker that is
  # merely busy answers all the time.
  @held_up_us 2_000

  @doc """
  Asks for another worker for a request that was sent ahead of its turn, if the one before it
  takes longer than expected. `:gone` if the pool is, so that no answer will come any more.
  """
  @spec rebalance(Handle.t(), Pending.id()) :: :gone | term()
  def rebalance(handle, id) do
    with {_id, _dest, _tag, _caller, slot, generation, sent_at, wire}
         when slot > 0 and wire != :pinned <- Pending.lookup(handle, id),
         true <- Slots.in_flight(handle, slot) > 1,
         since = max(sent_at, Slots.last_end(handle, slot)),
         true <- System.monotonic_time(:microsecond) - since >= @held_up_us,
         {^generation, worker, _writer} <- Directory.worker(handle, slot) do
      send(worker, {:rebalance, id})
    end
  rescue
    error in ArgumentError ->
      cond do
        :ets.info(handle.pending) == :undefined -> :gone
        gone?(handle) -> :ok
        true -> reraise(error, __STACKTRACE__)
      end
  end

  @doc "What the callers of a pool that has ended are told."
  @spec stopped(Handle.t(), :no | :maybe) :: Error.t()
  def stopped(handle, executed) do
    %Error{
      kind: :no_pool,
      message: "the pool #{inspect(handle.name)} has stopped",
      executed: executed,
      details: %{pool: handle.name}
    }
  end

  @spec no_pool(atom()) :: Error.t()
  def no_pool(name) do
    %Error{
      kind: :no_pool,
      message:
        "there is no running pool #{inspect(name)}: start {ErlangPython.Pool, name: " <>
          "#{inspect(name)}} under a supervisor or add it to config :erlang_python, :pools",
      executed: :no,
      details: %{pool: name}
    }
  end

  defp check_open(handle) do
    if Slots.closed?(handle), do: {:error, stopping(handle)}, else: :ok
  end

  defp stopping(handle) do
    %Error{
      kind: :no_pool,
      message: "the pool #{inspect(handle.name)} is stopping",
      executed: :no,
      details: %{pool: handle.name}
    }
  end

  defp admit(%{options: %{max_concurrent: :infinity}}), do: :ok

  defp admit(%{options: %{max_concurrent: max}} = handle) do
    case Slots.add_admitted(handle, 1) do
      current when current <= max ->
        :ok

      current ->
        Slots.add_admitted(handle, -1)
        {:error, overloaded(handle, "requests at once", current - 1, max)}
    end
  end

  defp place(handle, request, {:ok, slot}) do
    case Directory.worker(handle, slot) do
      {generation, _worker, writer} ->
        now = System.monotonic_time(:microsecond)
        alone? = Slots.in_flight(handle, slot) <= 1
        Pending.insert(handle, row(request, slot, generation, now))
        send(writer, {:tx, request.wire})
        confirm(handle, request.id, slot, generation, if(alone?, do: :alone, else: :behind))

      nil ->
        # The worker went between claim and look.
        Slots.release(handle, slot)
        place(handle, request, :none)
    end
  end

  defp place(handle, request, :none) do
    max = handle.options.max_queue

    case Slots.add_queued(handle, 1) do
      current when current <= max ->
        Pending.insert(handle, row(request, 0, 0, 0))
        Queue.enqueue(handle, request.id)
        confirm_queued(handle, request.id)

      current ->
        Slots.add_queued(handle, -1)
        unless handle.options.max_concurrent == :infinity, do: Slots.add_admitted(handle, -1)
        {:error, overloaded(handle, "requests in its queue", current - 1, max)}
    end
  end

  defp row(request, slot, generation, sent_at) do
    {request.id, request.dest, request.tag, request.caller, slot, generation, sent_at,
     request.wire}
  end

  # When a worker dies its slot's generation moves on first and its rows are collected after: a row that
  # was inserted too late to be collected sees the new generation here.
  defp confirm(handle, id, slot, generation, place) do
    if Slots.generation(handle, slot) != generation and
         Pending.unassign(handle, id, slot, generation) do
      Slots.add_queued(handle, 1)
      Queue.enqueue(handle, id)
      confirm_queued(handle, id)
    else
      {:ok, place}
    end
  end

  # The same for a pool that closed, whose rows are collected after it was marked closed, and for one whose
  # workers can't start, where the manager gives the reason to all who wait at that time.
  defp confirm_queued(handle, id) do
    cond do
      Slots.closed?(handle) -> take_back(handle, id, stopping(handle))
      error = Directory.circuit(handle) -> take_back(handle, id, error)
      true -> {:ok, :queued}
    end
  end

  defp take_back(handle, id, error) do
    if Pending.take_queued(handle, id) do
      Queue.drop(handle, id)
      {:error, error}
    else
      {:ok, :queued}
    end
  end

  defp overloaded(handle, what, current, max) do
    %Error{
      kind: :overloaded,
      message: "the pool #{inspect(handle.name)} has #{current} #{what}, its limit is #{max}",
      executed: :no,
      details: %{current: current, max: max}
    }
  end
end
