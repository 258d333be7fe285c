defmodule ErlangPython.Pool.Manager.Waiting do
  @moduledoc false
  # Who waits for what of a pool, and when they are told.

  alias ErlangPython.Callbacks.Awaited
  alias ErlangPython.Pool.{Pending, Recycling, Roster}
  alias ErlangPython.Pool.Manager.{Opening, State}

  @typedoc """
  That all workers are ready, that no request is open, that these workers are replaced, that none is starting, that a
  worker is there for a context.
  """
  @type what :: :ready | :empty | :restart | :running | :context
  @type who ::
          GenServer.from()
          | {GenServer.from(), [Recycling.worker()]}
          | {GenServer.from(), callers :: list()}
          | Opening.opener()
  @type t :: %{what() => [who()]}

  @drain_poll_ms 10

  @spec new() :: t()
  def new, do: %{ready: [], empty: [], restart: [], running: [], context: []}

  @spec add(State.t(), what(), who()) :: State.t()
  def add(state, what, who), do: update_in(state.waiting[what], &[who | &1])

  @spec remove(State.t(), what(), GenServer.from() | Opening.opener()) :: State.t()
  def remove(state, what, who), do: update_in(state.waiting[what], &List.delete(&1, who))

  @doc "Those that have waited so far, in their order."
  @spec take(State.t(), what()) :: {[who()], State.t()}
  def take(state, what),
    do: {Enum.reverse(state.waiting[what]), put_in(state.waiting[what], [])}

  @spec tell(State.t(), what(), term()) :: State.t()
  def tell(state, what, reply) do
    {waiting, state} = take(state, what)
    Enum.each(waiting, &GenServer.reply(&1, reply))
    state
  end

  @spec tell_ready(State.t()) :: State.t()
  def tell_ready(state),
    do: if(Roster.whole?(state.roster, state.count), do: tell(state, :ready, :ok), else: state)

  @spec tell_running(State.t()) :: State.t()
  def tell_running(%{waiting: %{running: []}} = state), do: state

  def tell_running(state) do
    starting? = Roster.any?(state.roster, [:starting])

    case Roster.running(state.roster) do
      _workers when starting? -> state
      [] when state.failures.error != nil -> tell_all(state, {:error, state.failures.error})
      [] -> tell_awaited(state)
      workers -> tell_all(state, {:ok, workers})
    end
  end

  defp tell_all(state, reply) do
    {waiting, state} = take(state, :running)
    for {from, _callers} <- waiting, do: GenServer.reply(from, reply)
    state
  end

  # Replaced at this moment. Who is waited for by those that are to end can't wait for the next ones.
  defp tell_awaited(%{handle: handle, roster: roster} = state) do
    draining = for {slot, %{phase: :draining, generation: n}} <- Enum.sort(roster), do: {slot, n}
    slots = for {slot, _generation} <- draining, do: slot
    {waiting, state} = take(state, :running)

    Enum.reduce(waiting, state, fn {{pid, _tag} = from, callers} = who, state ->
      if slots != [] and slots -- Awaited.slots(handle, pid, callers) == [] do
        GenServer.reply(from, {:ok, draining})
        state
      else
        add(state, :running, who)
      end
    end)
  end

  @doc "Looks again later, with `:empty?`, as long as requests are open."
  @spec tell_empty(State.t()) :: State.t()
  def tell_empty(%{waiting: %{empty: []}} = state), do: state

  def tell_empty(state) do
    if Pending.size(state.handle) == 0 do
      tell(state, :empty, :ok)
    else
      Process.send_after(self(), :empty?, @drain_poll_ms)
      state
    end
  end
end
