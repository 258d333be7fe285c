defmodule ErlangPython.Pool.Manager.Replacing do
  @moduledoc false
  # Workers that are there and are to end: by themselves, when they have ended what they have. What takes their place is
  # started by `Manager.Deaths`.

  alias ErlangPython.Pool.{Recycling, Slots}
  alias ErlangPython.Pool.Manager.{State, Waiting}
  alias ErlangPython.Pool.Roster
  alias ErlangPython.Worker

  @doc "`:draining` is to be replaced, `:closing` is not."
  @spec drain(State.t(), Slots.slot(), :draining | :closing) :: State.t()
  def drain(state, slot, phase) do
    Slots.put_window(state.handle, slot, 0)
    Worker.drain(state.roster[slot].worker)
    %{state | roster: Roster.put_phase(state.roster, slot, phase)}
  end

  @doc "Replaces these workers, when their turn comes. Whoever waits for `:restart` is told when there are no more."
  @spec recycle(State.t(), [Slots.slot()], Recycling.why()) :: State.t()
  def recycle(state, slots, why) do
    recycling = Enum.reduce(slots, state.recycling, &Recycling.add(&2, &1, why))
    next(%{state | recycling: recycling})
  end

  defp next(state) do
    case Recycling.next(state.recycling, &turn?(state, &1, &2)) do
      {:replace, slot, recycling} -> drain(%{state | recycling: recycling}, slot, :draining)
      {:done, recycling} -> Waiting.tell(%{state | recycling: recycling}, :restart, :ok)
      :busy -> state
    end
  end

  # One that has served its requests may have got contexts since, which are worth more.
  defp turn?(%{handle: handle} = state, slot, why) do
    match?(%{phase: :ready}, state.roster[slot]) and
      not (why == :max_requests and Slots.contexts(handle, slot) > 0)
  end

  @doc "The place of a worker is filled again, or could not be."
  @spec replaced(State.t(), Slots.slot(), :ok | {:error, term()}) :: State.t()
  def replaced(state, slot, result) do
    if Recycling.current?(state.recycling, slot), do: over(state, result), else: state
  end

  defp over(state, :ok), do: next(%{state | recycling: Recycling.over(state.recycling)})

  # The others stay as they are: better old workers than none.
  defp over(state, {:error, _error} = failed),
    do: Waiting.tell(%{state | recycling: Recycling.new()}, :restart, failed)
end
