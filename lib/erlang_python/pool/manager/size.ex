defmodule ErlangPython.Pool.Manager.Size do
  @moduledoc false
  # How many workers a pool has: as many as it is to have, and the extra ones that `Pool.Overflow` asks for.

  alias ErlangPython.Pool.{Overflow, Refs, Roster, Slots, Streams}
  alias ErlangPython.Pool.Manager.{Launch, Replacing, State, Waiting}

  @spec resize(State.t(), count :: pos_integer()) :: State.t()
  def resize(state, count) when count >= state.count do
    Slots.put_size(state.handle, count)
    Slots.put_count(state.handle, max(count, Slots.count(state.handle)))
    {there, new} = Enum.split_with((state.count + 1)..count//1, &is_map_key(state.roster, &1))
    state = Enum.reduce(there, %{state | count: count}, &replace_closing/2)
    Enum.reduce(new, state, &Launch.start(&2, &1)) |> overflow()
  end

  # Slots above the count are emptied by the deaths of their workers, and only then no longer looked at.
  def resize(state, count) do
    Slots.put_size(state.handle, count)
    superfluous = for slot <- Map.keys(state.roster), slot > count, do: slot
    Enum.reduce(superfluous, %{state | count: count}, &close/2) |> put_count() |> overflow()
  end

  # A worker of an earlier, larger size: its death starts the next.
  defp replace_closing(slot, state) do
    if state.roster[slot].phase == :closing,
      do: %{state | roster: Roster.put_phase(state.roster, slot, :draining)},
      else: state
  end

  defp close(slot, state) do
    case state.roster[slot] do
      %{phase: :waiting} -> remove(state, slot)
      _running -> Replacing.drain(state, slot, :closing)
    end
  end

  @doc "The slot is empty, and stays so."
  @spec remove(State.t(), Slots.slot()) :: State.t()
  def remove(state, slot) do
    %{state | roster: Map.delete(state.roster, slot)}
    |> put_count()
    |> Replacing.replaced(slot, :ok)
    |> Waiting.tell_running()
  end

  @doc "Extra workers, as many as are needed. One that is not is ended when it has not been for a while, by `:shrink`."
  @spec overflow(State.t()) :: State.t()
  def overflow(%{handle: %{options: %{max_overflow: 0}}} = state), do: state

  def overflow(%{handle: %{options: %{max_overflow: max}}, count: count} = state) do
    missing = Overflow.missing(state.roster, count, max)
    state = missing |> Enum.reduce(state, &Launch.start(&2, &1)) |> put_count()

    case {Overflow.any_superfluous?(state.roster, count, max), state.shrink} do
      {true, nil} -> %{state | shrink: Process.send_after(self(), :shrink, Overflow.linger_ms())}
      {false, timer} when timer != nil -> cancel_shrink(state)
      _as_before -> state
    end
  end

  defp cancel_shrink(state) do
    Process.cancel_timer(state.shrink)
    %{state | shrink: nil}
  end

  @doc "Ends the extra workers that are not needed."
  @spec shrink(State.t()) :: State.t()
  def shrink(%{handle: handle} = state) do
    keeps? = &keeps?(handle, state.roster[&1])

    state.roster
    |> Overflow.superfluous(state.count, handle.options.max_overflow, keeps?)
    |> Enum.reduce(%{state | shrink: nil}, &close/2)
    |> overflow()
  end

  # What would be lost with it.
  defp keeps?(handle, %{slot: slot, generation: generation}) do
    Slots.contexts(handle, slot) > 0 or Refs.any?(handle, slot, generation) or
      Streams.count(handle, slot, generation) > 0
  end

  defp put_count(state) do
    Slots.put_count(state.handle, Roster.last_slot(state.roster, state.count))
    state
  end
end
