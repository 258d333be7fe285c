defmodule ErlangPython.Worker.Messages do
  @moduledoc false
  # What the worker says on its main and control channels (docs/protocol.md, "Messages"), but for what the
  # reader deals with itself (`Worker.Channel`).

  alias ErlangPython.{MessagePack, Protocol, Worker}
  alias ErlangPython.Pool.Directory
  alias ErlangPython.Worker.{Health, Launch, State, Stopping}

  require Protocol

  @spec handle({Worker.channel(), byte()}, non_neg_integer(), binary(), State.t()) ::
          {:noreply, State.t()} | {:noreply, State.t(), {:continue, :setup}}
  def handle({:main, Protocol.type(:hello)}, 0, body, %{phase: :launching} = state) do
    version = Protocol.version()

    case MessagePack.decode(body) do
      {:ok, %{"protocol" => ^version} = hello} ->
        {:noreply, %{state | hello: hello}, {:continue, :setup}}

      _other ->
        did = "does not speak version #{version} of the wire protocol"
        {:noreply, State.kill(state, did, :protocol)}
    end
  end

  def handle({:main, Protocol.type(:ready)}, 0, _body, %{phase: :setup} = state) do
    Launch.cancel_timer(state)
    Health.begin(state)

    ready = %{
      slot: state.slot,
      generation: state.generation,
      worker: self(),
      writer: state.writers.main,
      os_pid: state.os_pid,
      hello: state.hello,
      replay: state.replay
    }

    Directory.notify(state.handle, :manager, {:ready, ready})
    {:noreply, %{state | phase: :ready}}
  end

  # Its exit follows.
  def handle({:main, Protocol.type(:failed)}, 0, body, %{phase: :setup} = state),
    do: {:noreply, %{state | failed: body}}

  def handle({:control, Protocol.type(:cancel_ack)}, id, body, state) do
    with {:ok, answer} <- MessagePack.decode(body),
         {:ok, state} <- Stopping.acknowledged(state, id, answer) do
      {:noreply, state}
    else
      _unknown -> broken(state)
    end
  end

  def handle({:control, Protocol.type(:flushed)}, id, body, state) do
    {reply_to, flushes} = Map.pop(state.flushes, id)
    if reply_to, do: send(reply_to, {reply_to, body})
    {:noreply, %{state | flushes: flushes}}
  end

  def handle({:control, Protocol.type(:pong)}, id, body, state) do
    case MessagePack.decode(body) do
      {:ok, %{"rss" => _bytes} = pong} -> {:noreply, Health.pong(state, id, pong)}
      _other -> broken(state)
    end
  end

  def handle({:control, Protocol.type(:stacked)}, id, body, state),
    do: {:noreply, Health.stacked(state, id, body)}

  def handle(_unexpected, _id, _body, state), do: broken(state)

  @doc "It has said what no worker says: it is ended."
  @spec broken(State.t()) :: {:noreply, State.t()}
  def broken(state), do: {:noreply, State.kill(state, "broke the wire protocol", :protocol)}
end
