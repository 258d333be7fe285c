defmodule ErlangPython.Pool.Manager.Replacing do
  @moduledoc false
  # Workers that are there and are to end: by themselves, when they have ended what they have. What takes their place is
  # started by `Manager.Deaths`.

  alias ErlangPython.Pool.{Recycling, Slots}
  alias ErlangPython.Pool.Manager.{Launch, State, Waiting}
  alias ErlangPython.Pool.Roster
  alias ErlangPython.Worker

  # Longer than most requests take, and than streams are waited for that nobody reads to their end.
  @turn_ms 30_000

  @doc "`:draining` is to be replaced, `:closing` is not."
  @spec drain(State.t(), Slots.slot(), :draining | :closing) :: State.t()
  def drain(state, slot, phase) do
    Slots.put_window(state.handle, slot, 0)
    Worker.drain(state.roster[slot].worker)
    %{state | roster: Roster.put_phase(state.roster, slot, phase)}
  end

  @doc "Replaces these workers, when their turn comes."
  @spec recycle(State.t(), [Recycling.worker()]) :: State.t()
  def recycle(state, workers) do
    recycling = Enum.reduce(workers, state.recycling, &Recycling.add(&2, &1))
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

  @doc "Replaces all that are there. Who asks is told when each has a successor, or one can't start."
  @spec restart(State.t(), GenServer.from()) :: State.t()
  def restart(state, from) do
    workers =
      for {slot, %{phase: phase, generation: generation}} <- state.roster,
          phase != :closing,
          do: {slot, generation}

    state
    |> Waiting.add(:restart, {from, workers})
    |> recycle(workers)
    |> tell_restarted()
  end

  defp next(state) do
    case Recycling.next(state.recycling, &ready?(state, &1)) do
      {:replace, {slot, _generation} = worker, recycling} ->
        Process.send_after(self(), {:overdue, worker}, @turn_ms)
        drain(%{state | recycling: recycling}, slot, :draining)

      {:done, recycling} ->
        %{state | recycling: recycling}

      :busy ->
        state
    end
  end

  defp ready?(%{roster: roster}, {slot, generation}),
    do: match?({:ok, %{phase: :ready}}, Roster.fetch(roster, slot, generation))

  @doc "A worker has had its time to end what it has: it goes on with that, and the next gets its turn."
  @spec overdue(State.t(), Recycling.worker()) :: State.t()
  def overdue(%{recycling: recycling} = state, worker) do
    if Recycling.current?(recycling, worker),
      do: next(%{state | recycling: Recycling.over(recycling)}),
      else: state
  end

  @doc "The place of a worker is filled again, or could not be."
  @spec replaced(State.t(), Slots.slot(), :ok | {:error, term()}) :: State.t()
  def replaced(state, slot, :ok) do
    next(%{state | recycling: Recycling.filled(state.recycling, slot)}) |> tell_restarted()
  end

  def replaced(state, slot, {:error, _error} = failed) do
    {waiting, state} = Waiting.take(state, :restart)
    for {from, _workers} <- waiting, do: GenServer.reply(from, failed)
    %{state | recycling: Recycling.failed(state.recycling, slot)}
  end

  defp tell_restarted(state) do
    {waiting, state} = Waiting.take(state, :restart)
    Enum.reduce(waiting, state, &tell_restarted/2)
  end

  defp tell_restarted({from, workers}, state) do
    case Enum.filter(workers, &awaited?(state, &1)) do
      [] ->
        GenServer.reply(from, :ok)
        state

      left ->
        Waiting.add(state, :restart, {from, left})
    end
  end

  # One that was still starting when its turn came is new enough.
  defp awaited?(%{roster: roster, recycling: recycling}, {slot, generation} = worker) do
    case roster do
      %{^slot => %{generation: ^generation, phase: :ready}} ->
        Recycling.queued?(recycling, worker)

      %{^slot => %{generation: ^generation}} ->
        true

      %{^slot => %{phase: phase}} ->
        phase in [:starting, :waiting]

      _removed ->
        false
    end
  end
end
