defmodule ErlangPython.ZMTP.Handler do
  @moduledoc false
  # What a connection's reader does with the messages of its peer. The callbacks run
  # inside the reader process (`ErlangPython.ZMTP.Connection`), which never sends to its
  # socket: what a handler wants sent goes to the writer.

  @typedoc """
  Facts about a peer whose handshake is complete: its routing id (ZMTP `Identity`), all of
  its READY properties, and on Linux unix sockets what `SO_PEERCRED` says.
  """
  @type peer :: %{
          routing_id: binary(),
          properties: %{binary() => binary()},
          os_pid: pos_integer() | nil,
          uid: non_neg_integer() | nil
        }

  @type state :: term()

  @doc """
  Asked once for each peer, in the connection process, before any message is read.
  `arg` is what the router was started with. A refused peer's connection is closed, its
  routing id stays free, and `reason` is logged once.
  """
  @callback init(peer(), writer :: pid(), arg :: term()) ::
              {:ok, state()} | {:reject, reason :: String.t()}

  @doc """
  The whole messages that arrived together, oldest first, each a list of frames.
  """
  @callback handle_messages([nonempty_list(binary())], state()) ::
              {:ok, state()} | {:close, reason :: term()}

  @doc """
  The connection is closed. Called exactly once after a successful `init`.
  """
  @callback handle_close(reason :: term(), state()) :: any()

  @doc """
  Any other Erlang message that the reader process received.
  """
  @callback handle_info(term(), state()) :: {:ok, state()} | {:close, reason :: term()}
end
