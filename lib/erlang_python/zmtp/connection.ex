defmodule ErlangPython.ZMTP.Connection do
  @moduledoc false
  # One process for one accepted socket: handshake under a deadline, claim of the routing id,
  # the handler's word; then it becomes the `ErlangPython.ZMTP.Reader`.
  #
  # READY goes out last and through the writer, which holds everything back until then: the
  # handler may send from its `init` on, and a peer that it refuses gets ERROR instead.

  require Logger

  alias ErlangPython.ZMTP.{
    Decoder,
    Handshake,
    PeerCredentials,
    ProtocolError,
    Reader,
    Router,
    Writer
  }

  # Twice what Linux gives a unix socket: sender and receiver wait less often for each other,
  # which makes large data a quarter faster. More than that gains nothing.
  @send_buffer 262_144

  @type config :: %{
          router: pid(),
          transport: :ipc | :tcp,
          uid: non_neg_integer() | nil,
          handler: module(),
          handler_arg: term(),
          max_message_size: pos_integer(),
          max_frames: pos_integer(),
          handshake_timeout: pos_integer()
        }

  @doc "Linked to the caller, the router. Waits for its socket as `{:socket, socket}`."
  @spec start_link(config()) :: pid()
  def start_link(config), do: :proc_lib.spawn_link(__MODULE__, :init, [config])

  @doc false
  def init(config) do
    deadline = now() + config.handshake_timeout

    receive do
      {:socket, socket} -> admit(config, socket, deadline)
    after
      config.handshake_timeout -> exit({:shutdown, :no_socket})
    end
  end

  defp admit(config, socket, deadline) do
    with {:ok, credentials} <- PeerCredentials.read(socket, config.transport),
         :ok <- check_owner(credentials, config),
         :ok <- size_send_buffer(socket, config.transport),
         :ok <- :gen_tcp.send(socket, Handshake.greeting()),
         {:ok, peer, rest} <- handshake(Handshake.new(), socket, deadline) do
      join(config, socket, Map.merge(credentials, peer), rest)
    else
      {:error, reason} -> refuse(socket, reason)
    end
  end

  defp check_owner(%{uid: uid}, config) when uid in [nil, config.uid], do: :ok
  defp check_owner(%{uid: uid}, _config), do: {:error, {:uid, uid}}

  defp size_send_buffer(socket, :ipc), do: :inet.setopts(socket, sndbuf: @send_buffer)
  # The kernel sizes it as the connection needs, unless it is told a size.
  defp size_send_buffer(_socket, :tcp), do: :ok

  defp handshake(handshake, socket, deadline) do
    with {:ok, bytes} <- :gen_tcp.recv(socket, 0, max(deadline - now(), 0)) do
      case Handshake.feed(handshake, bytes) do
        {:more, handshake} ->
          handshake(handshake, socket, deadline)

        {:ok, peer, rest} ->
          {:ok, peer, rest}

        {:error, error, answer} ->
          _ = :gen_tcp.send(socket, answer)
          {:error, error}
      end
    end
  end

  defp join(config, socket, facts, rest) do
    writer = Writer.start_link(socket, config.router)

    case Router.claim(config.router, facts.identity, writer, socket) do
      {:ok, routing_id} ->
        # From here on the handler may have to be told of the end.
        Process.flag(:trap_exit, true)

        peer = %{
          routing_id: routing_id,
          properties: facts.properties,
          os_pid: facts.os_pid,
          uid: facts.uid
        }

        ask_handler(config, socket, writer, peer, rest)

      {:error, :in_use} ->
        refuse(socket, :in_use)
    end
  end

  defp ask_handler(config, socket, writer, peer, rest) do
    case config.handler.init(peer, writer, config.handler_arg) do
      {:ok, state} ->
        Writer.open(writer, Handshake.accept())

        Reader.enter_loop(
          %Reader{
            socket: socket,
            router: config.router,
            writer: writer,
            handler: config.handler,
            state: state,
            decoder: Decoder.new(config.max_message_size, config.max_frames),
            name: name(peer)
          },
          rest
        )

      {:reject, reason} ->
        _ = :gen_tcp.send(socket, Handshake.refuse("Refused"))
        refuse(socket, {:rejected, reason})
    end
  end

  # A routing id may be a secret, so logs name the OS process.
  defp name(%{os_pid: nil}), do: "a ZMTP peer"
  defp name(%{os_pid: os_pid}), do: "the ZMTP peer with OS pid #{os_pid}"

  @spec refuse(:gen_tcp.socket(), term()) :: no_return()
  defp refuse(socket, reason) do
    log(reason)
    :gen_tcp.close(socket)
    exit({:shutdown, reason})
  end

  # Whoever connects and goes away has done nothing wrong.
  defp log(:closed), do: Logger.debug("a ZMTP peer left before its handshake was complete")
  defp log(reason), do: Logger.warning("a ZMTP peer was refused: #{text(reason)}")

  defp text(%ProtocolError{} = error), do: Exception.message(error)
  defp text(:timeout), do: "it did not complete the handshake in time"
  defp text(:in_use), do: "its routing id is in use"
  defp text({:uid, uid}), do: "it runs as another user (uid #{uid})"
  defp text({:rejected, reason}), do: reason
  defp text(posix), do: :inet.format_error(posix)

  defp now, do: System.monotonic_time(:millisecond)
end
