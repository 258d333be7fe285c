defmodule ErlangPython.ZMTP.Handler do
  @moduledoc false
  # What a connection's reader does with the messages of its peer. The callbacks run
  # inside the reader process (`ErlangPython.ZMTP.Reader`), which never sends to its
  # socket: what a handler wants sent goes to the writer as `{:tx, iodata}`, with
  # the iodata of `ErlangPython.ZMTP.Frame.encode_message/1`.

  alias ErlangPython.ZMTP.ProtocolError

  @typedoc """
  Facts about a peer whose handshake is complete: its routing id (ZMTP `Identity`, or one
  of five bytes that the router made up, the first of them zero), all of its READY
  properties with their names in lower case, and on Linux unix sockets what `SO_PEERCRED` says.
  """
  @type peer :: %{
          routing_id: binary(),
          properties: %{binary() => binary()},
          os_pid: pos_integer() | nil,
          uid: non_neg_integer() | nil
        }

  @typedoc """
  Why a connection ended:

    * `:closed` - the peer closed it or is gone;
    * `{:socket, posix}` - any other error of the socket;
    * `{:send, posix}` - a send failed; `:timeout` when the peer has stopped reading;
    * a `ProtocolError` - the peer broke ZMTP or a limit, which has been logged;
    * `{:handler, reason}` - a callback answered `{:close, reason}`;
    * `{:crash, reason}` - a callback raised, threw or exited, which goes on after this;
    * `{:exit, reason}` - an exit signal: of the router (`{:shutdown, :handover}` when
      another connection took the routing id), the writer, or any linked process.
  """
  @type close_reason ::
          :closed
          | {:socket, :inet.posix()}
          | {:send, :inet.posix() | :timeout}
          | ProtocolError.t()
          | {:handler, term()}
          | {:crash, term()}
          | {:exit, term()}

  @type state :: term()

  @doc """
  Asked once for each peer, in the connection process, before any message is read.
  `arg` is what the router was started with. It may link; what it sends to the writer goes
  out behind the handshake. A refused peer's connection is closed, its routing id stays
  free, and `reason` is logged once.
  """
  @callback init(peer(), writer :: pid(), arg :: term()) ::
              {:ok, state()} | {:reject, reason :: String.t()}

  @doc """
  The whole messages that arrived together, oldest first, each a list of frames.
  """
  @callback handle_messages([nonempty_list(binary())], state()) ::
              {:ok, state()} | {:close, reason :: term()}

  @doc """
  The connection is closed. Called exactly once after a successful `init`, unless the reader
  was killed: whoever must know of that too monitors it.
  """
  @callback handle_close(close_reason(), state()) :: any()

  @doc """
  Any other Erlang message that the reader process received. Exit signals don't come here:
  a linked process that ends abnormally closes the connection.

  `{:finish, state}` closes it too, as `:closed`, but only when all that had arrived by now has been read: for
  a peer that has ended, while somebody else still holds its end of the socket open.
  """
  @callback handle_info(term(), state()) ::
              {:ok, state()} | {:finish, state()} | {:close, reason :: term()}
end
