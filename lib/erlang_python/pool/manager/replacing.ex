defmodule ErlangPython.Pool.Manager.Replacing do
  @moduledoc false
  # Workers that are there and are to end: by themselves, when they have ended what they have. What takes their place is
  # started by `Manager.Deaths`.

  alias ErlangPython.Pool.{Recycling, Slots}
  alias ErlangPython.Pool.Manager.{Launch, State, Waiting}
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
  @spec recycle(State.t(), [Slots.slot()]) :: State.t()
  def recycle(state, slots) do
    recycling = Enum.reduce(slots, state.recycling, &Recycling.add(&2, &1))
    next(%{state | recycling: recycling})
  end

  @doc """
  Replaces a worker that has served as many requests as it may. It takes no more, so there is no turn to wait for. A context that
  it got meanwhile is worth more: then it goes on.
  """
  @spec retire(State.t(), Slots.slot()) :: State.t()
  def retire(%{handle: handle} = state, slot) do
    contexts? = Slots.contexts(handle, slot) > 0

    case state.roster[slot] do
      %{phase: :ready} when not contexts? -> drain(state, slot, :draining)
      %{phase: :ready, set_aside: false} -> reopen(state, slot)
      _ending_or_set_aside -> state
    end
  end

  defp reopen(%{handle: handle} = state, slot) do
    if Slots.window(handle, slot) == 0, do: Launch.open(handle, slot)
    state
  end

  defp next(state) do
    case Recycling.next(state.recycling, &ready?(state, &1)) do
      {:replace, slot, recycling} -> drain(%{state | recycling: recycling}, slot, :draining)
      {:done, recycling} -> Waiting.tell(%{state | recycling: recycling}, :restart, :ok)
      :busy -> state
    end
  end

  defp ready?(state, slot), do: match?(%{phase: :ready}, state.roster[slot])

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
