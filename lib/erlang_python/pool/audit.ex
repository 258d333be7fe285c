defmodule ErlangPython.Pool.Audit do
  @moduledoc false
  # Mends what a killed process left half done.
  #
  # Counters and tables change in separate steps, and a caller can be killed between any two
  # of them: it may have claimed a worker or counted itself into the queue, and left no row. What it left does not move
  # any more. So the manager looks at everything once in a while, and where two looks in a row
  # see the same, with nothing served in between, a difference between counters and tables is
  # not one in passing, and is mended.

  alias ErlangPython.Pool.{Handle, Pending, Queue, Slots}

  @type look :: %{
          slots: %{
            Slots.slot() =>
              {in_flight :: integer(), rows :: non_neg_integer(), served :: integer()}
          },
          beside: %{Slots.slot() => {beside :: integer(), rows :: non_neg_integer()}},
          queue: {queued :: integer(), ids :: non_neg_integer()},
          admitted: {admitted :: integer(), rows :: non_neg_integer()},
          lost: [Pending.id()]
        }

  @doc "What stands in the counters, and in the tables."
  @spec look(Handle.t()) :: look()
  def look(handle) do
    placed =
      Enum.group_by(Pending.places(handle), fn {_id, place} -> place end, fn {id, _} -> id end)

    rows = fn place -> placed |> Map.get(place, []) |> length() end
    waiting = Map.get(placed, 0, [])
    slots = 1..Slots.count(handle)//1

    %{
      slots:
        Map.new(slots, fn slot ->
          {slot, {Slots.in_flight(handle, slot), rows.(slot), Slots.served(handle, slot)}}
        end),
      beside: Map.new(slots, fn slot -> {slot, {Slots.beside(handle, slot), rows.(-slot)}} end),
      queue: {Slots.queued(handle), Queue.size(handle)},
      admitted: {Slots.admitted(handle), Pending.admitted(handle)},
      lost: waiting |> Enum.reject(&Queue.member?(handle, &1)) |> Enum.sort()
    }
  end

  @doc "Mends what both looks saw, and nothing has moved since."
  @spec mend(Handle.t(), look(), look()) :: :ok
  def mend(handle, before, now) do
    for {slot, {in_flight, rows, _served} = same} when in_flight != rows <- now.slots,
        before.slots[slot] == same,
        do: Slots.release(handle, slot, in_flight - rows)

    for {slot, {beside, rows} = same} when beside != rows <- now.beside,
        before.beside[slot] == same,
        do: Slots.add_beside(handle, slot, rows - beside)

    with {queued, ids} when queued != ids <- now.queue,
         true <- before.queue == now.queue,
         do: Slots.add_queued(handle, ids - queued)

    with {admitted, rows} when admitted != rows <- now.admitted,
         true <- before.admitted == now.admitted and handle.options.max_concurrent != :infinity,
         do: Slots.add_admitted(handle, rows - admitted)

    Queue.requeue(handle, Enum.filter(now.lost, &(&1 in before.lost)))
    Queue.dispatch(handle)
  end
end
