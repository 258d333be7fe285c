defmodule ErlangPython.Pool.Manager.Opening do
  @moduledoc false
  # Contexts get a worker here, and give it back.

  alias ErlangPython.Callbacks.Awaited
  alias ErlangPython.Pool.{Contexts, Placement, Roster, Slots}
  alias ErlangPython.Pool.Manager.{Launch, Replacing, Size, State, Waiting}

  @typedoc "`callers`: for whom it says that it works."
  @type opener ::
          {GenServer.from(), mode :: :dedicated | :shared, owner :: pid(), callers :: list()}

  @doc "As `open/2`, and waits at most so many milliseconds (`:opening_over`)."
  @spec open(State.t(), opener(), timeout()) :: State.t()
  def open(state, opener, timeout) do
    state = open(state, opener)

    if timeout != :infinity and opener in state.waiting.context,
      do: Process.send_after(self(), {:opening_over, opener}, timeout)

    state
  end

  @doc "Whoever waits still has waited long enough."
  @spec give_up(State.t(), opener()) :: State.t()
  def give_up(state, {from, _mode, _owner, _callers} = opener) do
    if opener in state.waiting.context, do: GenServer.reply(from, {:error, :timeout})
    Waiting.remove(state, :context, opener)
  end

  @doc "Opens a context. Waits for a worker that starts, or makes room for one, if no other is to be had."
  @spec open(State.t(), opener()) :: State.t()
  def open(state, {from, mode, _owner, _callers} = opener) do
    case state |> candidates() |> Placement.choose(mode, state.count) do
      nil ->
        if soon_new?(state, opener) do
          Waiting.add(state, :context, opener)
        else
          GenServer.reply(from, {:error, state.failures.error || Contexts.none_free()})
          state
        end

      slot ->
        place(state, opener, slot)
    end
  end

  # One that ends waits for what it runs. Not for those whose end that waits for.
  defp soon_new?(%{handle: handle, roster: roster} = state, {{pid, _tag}, _mode, _owner, callers}) do
    Roster.any?(roster, [:starting]) or
      case Enum.filter(Map.values(roster), &followed?(state, &1)) do
        [] -> false
        entries -> Enum.map(entries, & &1.slot) -- Awaited.slots(handle, pid, callers) != []
      end
  end

  # Does another worker start, by itself or when this one has ended? After an extra one another may.
  defp followed?(_state, %{phase: :draining}), do: true
  defp followed?(state, %{phase: :waiting}), do: state.failures.error == nil
  defp followed?(state, %{phase: :closing}), do: state.handle.options.max_overflow > 0
  defp followed?(_state, _entry), do: false

  defp candidates(%{handle: handle} = state) do
    for {slot, %{phase: :ready, set_aside: false}} <- state.roster do
      %{
        slot: slot,
        contexts: Slots.contexts(handle, slot),
        requests: Slots.in_flight(handle, slot) + Slots.beside(handle, slot),
        worn: Slots.worn?(handle, slot)
      }
    end
  end

  defp place(%{handle: handle} = state, {from, mode, owner, _callers}, slot) do
    Slots.put_contexts(handle, slot, Slots.contexts(handle, slot) + 1)
    if mode == :dedicated, do: Slots.put_window(handle, slot, 0)
    state = set_aside(state, slot, mode == :dedicated)

    # Here, not by the owner, who may be killed at any point and would leave a worker set aside.
    id = Contexts.put(handle, owner, {slot, state.roster[slot].generation}, mode)
    state = Size.overflow(state)
    GenServer.reply(from, {:ok, id})
    state
  end

  @doc "Tries again for those that wait."
  @spec open_waiting(State.t()) :: State.t()
  def open_waiting(%{waiting: %{context: []}} = state), do: state

  def open_waiting(state) do
    {openers, state} = Waiting.take(state, :context)
    Enum.reduce(openers, state, &open(&2, &1))
  end

  @doc "A context has left its worker."
  @spec left(State.t(), Roster.entry(), :dedicated | :shared) :: State.t()
  def left(%{handle: handle} = state, %{slot: slot} = entry, mode) do
    Slots.put_contexts(handle, slot, max(Slots.contexts(handle, slot) - 1, 0))
    if mode == :dedicated, do: give_back(state, entry), else: retire_worn(state, slot)
  end

  defp give_back(state, %{slot: slot} = entry) do
    if entry.phase == :ready, do: Launch.open(state.handle, slot)

    state
    |> set_aside(slot, false)
    |> retire_worn(slot)
    |> open_waiting()
    |> Size.overflow()
  end

  defp set_aside(state, slot, aside?) do
    Slots.set_aside(state.handle, slot, aside?)
    %{state | roster: Roster.set_aside(state.roster, slot, aside?)}
  end

  # That it had contexts has kept it.
  defp retire_worn(state, slot) do
    if Slots.worn?(state.handle, slot), do: Replacing.retire(state, slot), else: state
  end
end
