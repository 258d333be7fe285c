defmodule ErlangPython.Worker.Health do
  @moduledoc false
  # What is asked of a worker while it runs requests, which its control thread answers beside them: whether it
  # still lives, how much memory it has, what its threads do.

  alias ErlangPython.Pool.Slots
  alias ErlangPython.Protocol
  alias ErlangPython.Worker.{Pings, State}

  require Logger
  require Protocol

  @memory_poll_ms 1_000

  @doc "The worker is ready: what its pool wants to know regularly is asked from now on."
  @spec begin(State.t()) :: term()
  def begin(%{handle: %{options: options}}) do
    if options.heartbeat, do: send(self(), :heartbeat)
    if options.max_memory != :infinity, do: send(self(), :poll_memory)
  end

  @doc "Asks for a `PONG`; `asker` is who wants to know."
  @spec ping(State.t(), Pings.asker()) :: State.t()
  def ping(state, asker), do: ask(state, Protocol.type(:ping), asker)

  @spec stacks(State.t(), GenServer.from()) :: State.t()
  def stacks(state, from), do: ask(state, Protocol.type(:stacks), from)

  defp ask(state, type, asker) do
    {id, pings} = Pings.add(state.pings, asker)
    State.tell(state, :control, type, id)
    %{state | pings: pings}
  end

  @spec pong(State.t(), pos_integer(), map()) :: State.t()
  def pong(state, id, pong) do
    {asker, pings} = Pings.take(state.pings, id)

    state = %{state | pings: pings}

    case asker do
      :memory ->
        Process.send_after(self(), :poll_memory, @memory_poll_ms)
        check_memory(state, pong["rss"], state.handle.options.max_memory)

      {_pid, _tag} ->
        GenServer.reply(asker, pong)
        state

      _heartbeat_or_unknown ->
        state
    end
  end

  @spec stacked(State.t(), pos_integer(), binary()) :: State.t()
  def stacked(state, id, body) do
    {asker, pings} = Pings.take(state.pings, id)
    if asker, do: GenServer.reply(asker, body)
    %{state | pings: pings}
  end

  defp check_memory(state, rss, max) when rss <= max, do: state

  defp check_memory(state, rss, max) do
    send(self(), {:retire, :max_memory})
    unless state.heavy?, do: tell_of_memory(state, rss, max)
    %{state | heavy?: true}
  end

  defp tell_of_memory(%{handle: handle, slot: slot} = state, rss, max) do
    metadata = [pool: handle.name, worker: state.name, os_pid: state.os_pid]

    text =
      "Python worker #{slot} of the pool #{inspect(handle.name)} has #{div(rss, 1_000_000)} MB, " <>
        ":max_memory is #{div(max, 1_000_000)} MB: it is replaced"

    # The next one will be no smaller.
    if Slots.served(handle, slot) == 0,
      do: Logger.warning(text <> ", before it has served anything: raise the limit", metadata),
      else: Logger.info(text, metadata)
  end

  @doc "Each must be answered by the time of the next."
  @spec heartbeat(State.t()) :: State.t()
  def heartbeat(%{handle: %{options: %{heartbeat: interval}}} = state) do
    if Pings.waiting?(state.pings, :heartbeat) do
      State.kill(state, "did not answer a heartbeat within #{interval} ms")
    else
      Process.send_after(self(), :heartbeat, interval)
      ping(state, :heartbeat)
    end
  end
end
