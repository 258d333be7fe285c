defmodule ErlangPython.Pool.Pending do
  @moduledoc false
  # The open requests of a pool: one ETS row each (`Row`), from before its frame is sent until its
  # end. Taking the row out is what ends a request, so it has exactly one end.

  import ErlangPython.Pool.Pending.Row, only: [position: 1, row: 1, row: 2]

  alias ErlangPython.Error
  alias ErlangPython.Pool.{Handle, Slots}
  alias ErlangPython.Pool.Pending.Row

  @type id :: Row.id()
  @type deadline :: Row.deadline()
  @type place :: Row.place()
  @type held_by :: Row.held_by()

  @spec new() :: :ets.table()
  def new do
    :ets.new(__MODULE__, [
      :set,
      :public,
      keypos: position(:id),
      write_concurrency: true,
      decentralized_counters: true
    ])
  end

  @spec insert(Handle.t(), Row.t()) :: true
  def insert(%{pending: table}, row), do: :ets.insert(table, row)

  @spec lookup(Handle.t(), id()) :: Row.t() | nil
  def lookup(%{pending: table}, id) do
    case :ets.lookup(table, id) do
      [row] -> row
      [] -> nil
    end
  end

  @spec member?(Handle.t(), id()) :: boolean()
  def member?(%{pending: table}, id), do: :ets.member(table, id)

  @doc "Who made a request; nil if it had its end."
  @spec caller(Handle.t(), id()) :: pid() | nil
  def caller(%{pending: table}, id), do: element(table, id, position(:caller), nil)

  @doc "When its time is up; nil also if it had its end."
  @spec deadline(Handle.t(), id()) :: deadline()
  def deadline(%{pending: table}, id), do: element(table, id, position(:deadline), nil)

  @doc "When it was sent, in microseconds of monotonic time; `default` if it had its end."
  @spec sent_at(Handle.t(), id(), integer()) :: integer()
  def sent_at(%{pending: table}, id, default), do: element(table, id, position(:sent_at), default)

  @doc "Who made a request, where it is, and whether it is pinned to its worker; nil if it had its end."
  @spec standing(Handle.t(), id()) :: {pid() | nil, place(), pinned? :: boolean()} | nil
  def standing(%{pending: table}, id) do
    # One that was moved may have begun in the main thread just before.
    pinned = {:orelse, {:"=:=", :"$3", :pinned}, {:is_tuple, :"$3"}}

    # Without a copy of the wire.
    case :ets.select(table, [
           {row(id: id, caller: :"$1", place: :"$2", wire: :"$3", _: :_), [],
            [{{:"$1", :"$2", pinned}}]}
         ]) do
      [standing] -> standing
      [] -> nil
    end
  end

  @doc "Does a request that the main thread of this slot's worker has begun last still occupy that?"
  @spec on_main_thread?(Handle.t(), id(), Slots.slot()) :: boolean()
  def on_main_thread?(handle, id, slot) do
    case standing(handle, id) do
      {_caller, ^slot, _pinned?} -> true
      {_caller, _beside, pinned?} -> pinned?
      nil -> false
    end
  end

  @doc "Is it still open, although nobody waits for it any more?"
  @spec abandoned?(Handle.t(), id()) :: boolean()
  def abandoned?(%{pending: table}, id), do: element(table, id, position(:dest), :none) == nil

  # Without a copy of the rest, which may be large.
  defp element(table, id, position, default) do
    :ets.lookup_element(table, id, position)
  rescue
    ArgumentError -> default
  end

  @spec size(Handle.t()) :: non_neg_integer()
  def size(%{pending: table}), do: :ets.info(table, :size)

  @doc "Has the pool ended? The heir has ended all that was in here then."
  @spec gone?(Handle.t()) :: boolean()
  def gone?(%{pending: table}), do: :ets.info(table, :id) == :undefined

  @doc """
  Takes a request out; `nil` if it had its end already. The caller of this function leaves
  its place (`finish/3` does it itself; the reader counts and releases a whole packet at once).
  """
  @spec take(Handle.t(), id()) :: Row.t() | nil
  def take(%{pending: table} = handle, id) do
    case :ets.take(table, id) do
      [taken] ->
        leave(handle, row(taken, :caller))
        taken

      [] ->
        nil
    end
  end

  @doc "Ends a request with a message for its caller. False if it had its end already."
  @spec finish(Handle.t(), id(), Error.t()) :: boolean()
  def finish(handle, id, message) do
    case take(handle, id) do
      nil ->
        false

      row(dest: dest, tag: tag, place: place) ->
        vacate(handle, place)
        answer(dest, tag, message)
        true
    end
  end

  @doc "Ends a request that nobody waits for. False if it had its end already."
  @spec discard(Handle.t(), id()) :: boolean()
  def discard(handle, id) do
    case take(handle, id) do
      nil ->
        false

      row(place: place) ->
        vacate(handle, place)
        true
    end
  end

  @doc "Leaves the place of a request that was taken out."
  @spec vacate(Handle.t(), place()) :: term()
  def vacate(_handle, 0), do: :ok
  def vacate(handle, slot) when slot > 0, do: Slots.release(handle, slot)
  def vacate(handle, beside), do: Slots.add_beside(handle, -beside, -1)

  @typedoc "`:timed` with the slot: the message has its times."
  @type answer :: Error.t() | [binary()] | {:timed, Slots.slot(), [binary()]}

  @spec answer(reference() | pid() | nil, term(), answer()) :: term()
  def answer(nil, _tag, _message), do: :ok
  def answer(dest, tag, message), do: send(dest, {tag, message})

  @doc "Takes a request out only if it still waits in the queue: then it certainly never runs."
  @spec take_queued(Handle.t(), id()) :: boolean()
  def take_queued(%{pending: table} = handle, id) do
    if :ets.select_delete(table, [{row(id: id, place: 0, _: :_), [], [true]}]) == 1 do
      # What queues is somebody's.
      leave(handle, :somebody)
      true
    else
      false
    end
  end

  @doc "Nobody waits for this request any more. False if it had its end already."
  @spec abandon(Handle.t(), id()) :: boolean()
  def abandon(%{pending: table}, id), do: :ets.update_element(table, id, {position(:dest), nil})

  @doc """
  Gives a queued request to a slot, or beside its main thread, where the caller of this function has taken a place for it,
  and gives what is to be sent. `:ended` if it had its end before, or nobody waits for it: its place is left then.
  """
  @spec assign(Handle.t(), id(), place(), pos_integer(), integer()) :: {:ok, iodata()} | :ended
  def assign(%{pending: table} = handle, id, place, generation, sent_at) do
    placed = [
      {position(:place), place},
      {position(:generation), generation},
      {position(:sent_at), sent_at}
    ]

    if :ets.update_element(table, id, placed) do
      assigned(handle, id, lookup(handle, id))
    else
      vacate(handle, place)
      :ended
    end
  end

  # Who took it out has left its place.
  defp assigned(_handle, _id, nil), do: :ended

  # Its caller may have looked for it where it was before, and would not stop it here.
  defp assigned(handle, id, row(dest: nil)) do
    discard(handle, id)
    :ended
  end

  defp assigned(_handle, _id, row(wire: wire)), do: {:ok, wire}

  @doc """
  Moves a request from its place back to the queue. False if it is not there (any more): then
  somebody else has moved or ended it. Vacates the place.
  """
  @spec unassign(Handle.t(), id(), place(), pos_integer()) :: boolean()
  def unassign(%{pending: table} = handle, id, place, generation) do
    there = row(any(id), place: place, generation: generation)
    queued = row(there, place: 0, generation: 0, sent_at: 0)

    if :ets.select_replace(table, [{there, [], [{queued}]}]) == 1 do
      vacate(handle, place)
      true
    else
      false
    end
  end

  @doc "A pinned request goes to another thread of its worker. False if it did so before, or had its end."
  @spec move(Handle.t(), id()) :: boolean()
  def move(%{pending: table}, id) do
    held = row(any(id), wire: {:"$9", :"$10"})
    moved = row(held, wire: {{:"$9", :moved}})
    :ets.select_replace(table, [{held, [{:"=/=", :"$10", :moved}], [{moved}]}]) == 1
  end

  # Each field as it is, in the patterns and the new rows of `:ets.select_replace/2`.
  defp any(id) do
    row(
      id: id,
      dest: :"$1",
      tag: :"$2",
      caller: :"$3",
      place: :"$4",
      generation: :"$5",
      sent_at: :"$6",
      wire: :"$7",
      deadline: :"$8"
    )
  end

  @doc """
  A request no longer occupies the main thread of its worker. Gives when it was sent; the caller of this function
  releases the slot. `{:pinned, wire}` if it did not count into the window. False if it is not there (any more).
  """
  @spec detach(Handle.t(), id(), Slots.slot(), pos_integer()) ::
          {:ok, integer()} | {:pinned, wire :: term()} | false
  def detach(handle, id, slot, generation) do
    case lookup(handle, id) do
      row(place: ^slot, generation: ^generation, sent_at: sent_at) ->
        # Counted first: who takes the row out counts it off at once.
        Slots.add_beside(handle, slot, 1)

        if put_detached(handle, id, slot, generation) do
          {:ok, sent_at}
        else
          Slots.add_beside(handle, slot, -1)
          false
        end

      row(place: place, generation: ^generation, wire: wire)
      when place == -slot and (wire == :pinned or is_tuple(wire)) ->
        if put_detached(handle, id, place, generation), do: {:pinned, wire}, else: false

      # Nested in a callback, whose thread waits for it all the same.
      _nested_or_gone ->
        false
    end
  end

  defp put_detached(%{pending: table}, id, place, generation) do
    there = row(any(id), place: place, generation: generation)
    detached = row(there, place: -abs(place), wire: :detached)
    :ets.select_replace(table, [{there, [], [{detached}]}]) == 1
  end

  @typedoc """
  What a request is to its worker: `:window` could be given to another; the others could not, `:pinned` and what is held wait
  for the main thread all the same.
  """
  @type kind :: :window | :pinned | held_by() | :beside

  @doc "The requests that a slot's incarnation holds."
  @spec in_slot(Handle.t(), Slots.slot(), pos_integer()) :: [{id(), kind()}]
  def in_slot(%{pending: table}, slot, generation) do
    beside = row(id: :"$1", place: -slot, generation: generation, _: :_)
    inside = row(beside, place: slot)

    :ets.select(table, [
      {row(beside, wire: :pinned), [], [{{:"$1", :pinned}}]},
      {row(beside, wire: {:"$2", :"$3"}), [{:"=/=", :"$3", :moved}], [{{:"$1", :"$2"}}]},
      {beside, [], [{{:"$1", :beside}}]},
      {inside, [], [{{:"$1", :window}}]}
    ])
  end

  @doc "All requests with their places."
  @spec places(Handle.t()) :: [{id(), place()}]
  def places(%{pending: table}),
    do: :ets.select(table, [{row(id: :"$1", place: :"$2", _: :_), [], [{{:"$1", :"$2"}}]}])

  @doc "How many there are that count for `:max_concurrent`: those that somebody has made."
  @spec admitted(Handle.t()) :: non_neg_integer()
  def admitted(%{pending: table}) do
    spec = [{row(caller: :"$1", _: :_), [{:"=/=", :"$1", nil}], [true]}]
    :ets.select_count(table, spec)
  end

  @spec of_caller(Handle.t(), pid()) :: [id()]
  def of_caller(%{pending: table}, pid),
    do: :ets.select(table, [{row(id: :"$1", caller: pid, _: :_), [], [:"$1"]}])

  @spec of_callers(Handle.t(), [pid()]) :: [id()]
  def of_callers(handle, [pid]), do: of_caller(handle, pid)

  def of_callers(%{pending: table}, pids) do
    pids = MapSet.new(pids)
    rows = [{row(id: :"$1", caller: :"$2", _: :_), [], [{{:"$1", :"$2"}}]}]
    for {id, pid} <- :ets.select(table, rows), MapSet.member?(pids, pid), do: id
  end

  @doc "Who waits for a request; nobody in a pool that is gone."
  @spec callers(Handle.t()) :: MapSet.t(pid())
  def callers(%{pending: table}) do
    table |> :ets.select([{row(caller: :"$1", _: :_), [], [:"$1"]}]) |> MapSet.new()
  rescue
    ArgumentError -> MapSet.new()
  end

  # The other half of Intake.Admission.
  @spec leave(Handle.t(), pid() | :somebody | nil) :: term()
  defp leave(%{options: %{max_concurrent: :infinity}}, _caller), do: :ok
  defp leave(_handle, nil), do: :ok
  defp leave(handle, _caller), do: Slots.add_admitted(handle, -1)
end
