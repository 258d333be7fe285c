defmodule ErlangPython.Pool.Intake.Stuck do
  @moduledoc false
  # A second look at requests that wait: behind one that takes longer than expected, or for workers all of which
  # wait themselves.

  import ErlangPython.Pool.Pending.Row, only: [row: 1]

  alias ErlangPython.Callbacks.{Awaited, Holding, Origin, Running}
  alias ErlangPython.Pool.{Directory, Handle, Pending, Queue, Slots, Streams}
  alias ErlangPython.Pool.Intake.Beside

  # A worker that has not answered for so long is held up by the request that it runs, and what waits
  # behind that had better go elsewhere: twice what the window promises. A worker that is
  # merely busy answers all the time.
  @held_up_us 2_000

  # Whatever the callbacks wait for may need this very request: a process that serves them may have
  # made it. So when all workers that could serve it wait for Elixir and none gets on, it must not wait for them.
  @stuck_us 20_000

  # Longer for a worker that drains: what is sent there keeps it. Under a load of shorter requests it gets no more of them.
  @kept_up_us 100_000

  @doc """
  Looks again at a request that waits: for one that was sent ahead of its turn, behind a request that takes longer than
  expected, another worker is asked for, or, where the pool is stuck, a thread beside a main thread; so it is for one in the queue
  of a pool that is stuck, and for one that only a stuck worker can serve. `:gone` if the pool is, so that no answer will
  come any more.
  """
  @spec reconsider(Handle.t(), Pending.id()) :: :gone | term()
  def reconsider(handle, id) do
    case Pending.lookup(handle, id) do
      row(place: 0) -> release(handle, id)
      row(place: slot) = found when slot > 0 -> rebalance(handle, found)
      row(wire: {_held_by, wire}) = found when wire != :moved -> move(handle, found)
      _outside_the_window_or_ended -> :ok
    end
  rescue
    error in ArgumentError ->
      Handle.reraise_unless_gone(handle, error, __STACKTRACE__)
      # The heir ends all that is in it before it goes.
      if Pending.gone?(handle), do: :gone, else: :ok
  end

  defp rebalance(handle, row(id: id, place: slot, generation: generation, sent_at: sent_at)) do
    with false <- Slots.alone?(handle, slot),
         since = max(sent_at, Slots.last_end(handle, slot)),
         true <- System.monotonic_time(:microsecond) - since >= @held_up_us,
         {^generation, worker, _writer} <- Directory.worker(handle, slot) do
      send(worker, {:rebalance, id, waiting_slot(handle)})
    end
  end

  @doc """
  Gives on a request that was taken back from a worker: to a thread beside the main one of the worker in this slot, where
  `reconsider/2` has found the pool stuck; nil is the queue.
  """
  @spec give_on(Handle.t(), Pending.id(), Slots.slot() | nil) :: term()
  def give_on(handle, id, slot) do
    case slot && Directory.worker(handle, slot) do
      {generation, worker, _writer} ->
        beside(handle, id, slot, generation, worker)
        # The place that it has left.
        Queue.dispatch(handle)

      nil ->
        Queue.requeue(handle, [id])
    end
  end

  # Out of the queue.
  defp release(handle, id) do
    slot = waiting_slot(handle)

    with {generation, worker, _writer} <- slot && Directory.worker(handle, slot),
         # Who takes it out of the queue's table owns it.
         true <- Queue.drop(handle, id),
         do: beside(handle, id, slot, generation, worker)
  end

  defp beside(handle, id, slot, generation, worker) do
    Slots.add_beside(handle, slot, 1)
    now = System.monotonic_time(:microsecond)

    with {:ok, wire} <- Pending.assign(handle, id, -slot, generation, now) do
      if Slots.generation(handle, slot) == generation do
        send(worker, {:beside, wire})
        confirm(handle, id, slot, generation)
      else
        take_back(handle, id, slot, generation)
      end
    end
  end

  # The worker has died, and never sees it.
  defp take_back(handle, id, slot, generation) do
    if Pending.unassign(handle, id, -slot, generation) do
      Slots.add_queued(handle, 1)
      Queue.enqueue(handle, id)
    end
  end

  defp confirm(handle, id, slot, generation) do
    if Slots.generation(handle, slot) != generation,
      do: Pending.finish(handle, id, Beside.worker_gone())
  end

  # The main thread has not even read it, where it waits for a thread of its own or in an event loop.
  defp move(handle, row(id: id, place: place, generation: generation, wire: {_held_by, wire})) do
    with true <- stuck?(handle, -place, System.monotonic_time(:microsecond)),
         {^generation, worker, _writer} <- Directory.worker(handle, -place),
         do: send(worker, {:move, id, wire})
  end

  # The worker of the callback that started this process, if there is one.
  defp waiting_slot(handle) do
    case Origin.ancestor(handle) do
      %Origin{slot: slot} -> slot
      nil -> stuck_slot(handle)
    end
  end

  # Those that take no requests would not serve it either: set aside for contexts, starting, about to end, or vacant in a pool that
  # is smaller now. All that may take as long as the callbacks.
  defp stuck_slot(handle) do
    now = System.monotonic_time(:microsecond)
    {waiting, others} = Enum.split_with(1..Slots.count(handle)//1, &waits?(handle, &1, now))

    if Enum.all?(others, &(Slots.window(handle, &1) == 0)) do
      waiting
      |> Enum.filter(&open_to_caller?(handle, &1))
      |> Enum.min_by(&{Slots.set_aside?(handle, &1), Slots.beside(handle, &1)}, fn ->
        read_slot(handle)
      end)
    end
  end

  # A worker that drains waits for whoever reads a stream of it.
  defp read_slot(handle) do
    Enum.find(1..Slots.count(handle)//1, fn slot ->
      case Directory.worker(handle, slot) do
        {generation, _worker, _writer} ->
          not Slots.set_aside?(handle, slot) and
            Streams.any?(handle, self(), {slot, generation})

        nil ->
          false
      end
    end)
  end

  # A worker that is set aside runs what its contexts wait for, and nobody else's requests.
  defp open_to_caller?(handle, slot),
    do:
      not Slots.set_aside?(handle, slot) or
        slot in Awaited.slots(handle, self(), Origin.callers())

  # Who drains, or is set aside for contexts, would not serve it in its main thread either: so it does not matter which of its
  # threads waits.
  defp waits?(handle, slot, now) do
    if Slots.window(handle, slot) == 0,
      do: kept_up?(handle, slot, now),
      else: stuck?(handle, slot, now)
  end

  defp stuck?(handle, slot, now) do
    in_callbacks?(handle, slot) and now - Slots.last_end(handle, slot) >= @stuck_us and
      Holding.main_thread?(handle, slot)
  end

  # Where the callback of an asynchronous stream names a request that has ended, one that pulls waits for it.
  defp kept_up?(handle, slot, now) do
    before = now - @kept_up_us

    in_callbacks?(handle, slot) and Slots.in_flight(handle, slot) + Slots.beside(handle, slot) > 0 and
      case Running.parents(handle, slot) do
        [] -> false
        requests -> Enum.all?(requests, &(Pending.sent_at(handle, &1, before) <= before))
      end
  end

  defp in_callbacks?(handle, slot),
    do: Slots.callbacks(handle, slot) > 0 and Directory.worker(handle, slot) != nil
end
