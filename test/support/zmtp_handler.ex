defmodule ErlangPython.ZMTPHandler do
  @moduledoc false
  # A handler that tells the test everything. The argument is a map with `:test` (the
  # test's pid), and `:init` (what `init` answers, a function of the peer) or `:echo`.

  @behaviour ErlangPython.ZMTP.Handler

  alias ErlangPython.ZMTP.{Frame, Router}

  @doc "A router with this handler, under the test's supervisor."
  def start_router(options \\ []) do
    {arg, options} = Keyword.pop(options, :arg, %{})
    arg = Map.put(arg, :test, self())

    ExUnit.Callbacks.start_supervised!(
      {Router, [handler: __MODULE__, handler_arg: arg] ++ options}
    )
  end

  @impl true
  def init(peer, writer, arg) do
    send(arg.test, {:peer, peer, writer, self()})

    case arg do
      %{init: init} -> init.(peer, writer, arg)
      arg -> {:ok, Map.merge(arg, %{id: peer.routing_id, writer: writer})}
    end
  end

  @impl true
  def handle_messages([["close" | _] | _], _state), do: {:close, :asked}
  def handle_messages([["raise" | _] | _], _state), do: raise("asked")

  def handle_messages(messages, %{echo: true} = state) do
    for message <- messages, do: send(state.writer, {:tx, Frame.encode_message(message)})
    {:ok, state}
  end

  def handle_messages(messages, state) do
    send(state.test, {:messages, state.id, messages})
    {:ok, state}
  end

  @impl true
  def handle_close(reason, state) do
    send(state.test, {:closed, state.id, reason})
  end

  @impl true
  def handle_info(message, state) do
    send(state.test, {:info, state.id, message})
    {:ok, state}
  end
end
