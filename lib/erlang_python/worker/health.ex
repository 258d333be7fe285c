defmodule ErlangPython.Worker.Health do
  @moduledoc false
  # What is asked of a worker while it runs requests, which its control thread answers beside them: whether it
  # still lives, how much memory it has, what its threads do.

  alias ErlangPython.Protocol
  alias ErlangPython.Worker.{Pings, State}

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

    case asker do
      :memory -> check_memory(state, pong["rss"])
      {_pid, _tag} -> GenServer.reply(asker, pong)
      _heartbeat_or_unknown -> :ok
    end

    %{state | pings: pings}
  end

  @spec stacked(State.t(), pos_integer(), binary()) :: State.t()
  def stacked(state, id, body) do
    {asker, pings} = Pings.take(state.pings, id)
    if asker, do: GenServer.reply(asker, body)
    %{state | pings: pings}
  end

  defp check_memory(%{handle: %{options: %{max_memory: max}}}, rss) do
    if rss > max, do: send(self(), {:retire, :max_memory})
    Process.send_after(self(), :poll_memory, @memory_poll_ms)
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
