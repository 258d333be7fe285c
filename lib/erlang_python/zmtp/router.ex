defmodule ErlangPython.ZMTP.Router do
  @moduledoc false
  # A ROUTER socket. Owns the listening socket, its directory and the table of routing ids,
  # and is linked to every process of every connection, so that nothing outlives it. It
  # takes part in connecting and disconnecting only; no message passes through it.
  # README.md beside this file has the process model.

  use GenServer

  require Logger

  alias ErlangPython.ZMTP.{Acceptor, Connection, Listener, RoutingTable}

  # How long `terminate` lets handlers take in their `handle_close`.
  @close_timeout 1_000

  @type option ::
          {:handler, module()}
          | {:handler_arg, term()}
          | {:transport, :ipc | :tcp}
          | {:socket_dir, Path.t() | nil}
          | {:max_message_size, pos_integer()}
          | {:max_frames, pos_integer()}
          | {:max_connections, pos_integer()}
          | {:handshake_timeout, pos_integer()}
          | {:send_timeout, pos_integer() | :infinity}
          | {:handover, boolean()}
          | {:name, GenServer.name()}

  @defaults [
    handler_arg: nil,
    transport: :ipc,
    socket_dir: nil,
    max_message_size: 256 * 1024 * 1024,
    max_frames: 65_536,
    max_connections: 1_024,
    handshake_timeout: 5_000,
    send_timeout: 30_000,
    handover: false
  ]

  @doc """
  Binds and starts to accept.

    * `:handler` (required) - an `ErlangPython.ZMTP.Handler`; `:handler_arg` goes to its `init`.
    * `:transport` - `:ipc`, a unix socket in a fresh directory of mode 0700, or `:tcp`, a
      port of 127.0.0.1, where any local user may connect. The default is `:ipc`.
    * `:socket_dir` - where to make that directory, which there is under `:tcp` too (`folder/1`); by default
      the system's temporary directory, or `/tmp` if its path is too long for a socket.
    * `:max_message_size` - bytes that all frames of a message may have together, 256 MiB.
    * `:max_frames` - frames that a message may have, 65,536.
    * `:max_connections` - connections at once, those in their handshake included, 1,024.
    * `:handshake_timeout` - milliseconds for a whole handshake, 5,000.
    * `:send_timeout` - milliseconds until a peer that reads nothing is given up, 30,000.
    * `:handover` - whether a new connection takes its routing id from the one that has it
      (libzmq's `ROUTER_HANDOVER`), or is refused. The default is `false`.
    * `:name` - a name to register.
  """
  @spec start_link([option()]) :: GenServer.on_start()
  def start_link(options) do
    {name, options} = Keyword.split(options, [:name])
    GenServer.start_link(__MODULE__, validate!(options), name)
  end

  @doc "Where peers connect: `ipc:///path` or `tcp://127.0.0.1:port`."
  @spec endpoint(GenServer.server()) :: String.t()
  def endpoint(router), do: GenServer.call(router, :endpoint)

  @doc "A folder of mode 0700, which goes away with the router."
  @spec folder(GenServer.server()) :: Path.t()
  def folder(router), do: GenServer.call(router, :folder)

  @doc """
  Makes its folder, and the socket in it, anew under the same path, if a cleaner of temporary files has removed them.
  Connections that there are stay.
  """
  @spec mend(GenServer.server()) :: :ok
  def mend(router) do
    GenServer.call(router, :mend, :infinity)
  catch
    :exit, _it_has_ended -> :ok
  end

  @doc "The writer of the peer with this routing id."
  @spec writer(GenServer.server(), binary()) :: {:ok, pid()} | :error
  def writer(router, routing_id), do: GenServer.call(router, {:writer, routing_id})

  @doc "For the acceptor: a process for one more socket."
  @spec start_connection(pid()) :: {:ok, pid()} | {:error, :max_connections}
  def start_connection(router), do: GenServer.call(router, :start_connection, :infinity)

  @doc "For a connection process: makes it the holder of a routing id; an empty one means any."
  @spec claim(pid(), binary(), pid(), :gen_tcp.socket()) :: {:ok, binary()} | {:error, :in_use}
  def claim(router, routing_id, writer, socket),
    do: GenServer.call(router, {:claim, routing_id, writer, socket}, :infinity)

  defp validate!(options) do
    options = Keyword.validate!(options, [:handler | @defaults])
    Enum.each(options, &validate_option!/1)
    options[:handler] || raise ArgumentError, "expected :handler to be given"
    Map.new(options)
  end

  defp validate_option!({:transport, transport}) when transport in [:ipc, :tcp], do: :ok
  defp validate_option!({:handler, handler}) when is_atom(handler), do: :ok
  defp validate_option!({:handler_arg, _any}), do: :ok
  defp validate_option!({:handover, handover}) when is_boolean(handover), do: :ok
  defp validate_option!({:socket_dir, dir}) when is_nil(dir) or is_binary(dir), do: :ok
  defp validate_option!({:send_timeout, :infinity}), do: :ok

  defp validate_option!({key, value})
       when key not in [:transport, :handler, :handover, :socket_dir] and is_integer(value) and
              value > 0,
       do: :ok

  defp validate_option!({key, value}),
    do: raise(ArgumentError, "invalid value for #{inspect(key)}: #{inspect(value)}")

  @impl true
  def init(options) do
    Process.flag(:trap_exit, true)

    case Listener.open(options.transport, options.socket_dir, options.send_timeout) do
      {:ok, listener} ->
        <<first_id::32>> = :crypto.strong_rand_bytes(4)

        {:ok,
         %{
           listener: listener,
           acceptor: Acceptor.start_link(listener.socket, self()),
           config: connection_config(options, listener),
           send_timeout: options.send_timeout,
           max_connections: options.max_connections,
           handover?: options.handover,
           connections: MapSet.new(),
           table: RoutingTable.new(first_id)
         }}

      {:error, reason} ->
        {:stop, reason}
    end
  end

  defp connection_config(options, listener) do
    options
    |> Map.take([
      :transport,
      :handler,
      :handler_arg,
      :max_message_size,
      :max_frames,
      :handshake_timeout
    ])
    |> Map.merge(%{router: self(), uid: listener.dir.uid})
  end

  @impl true
  def handle_call(:endpoint, _from, state), do: {:reply, state.listener.endpoint, state}

  def handle_call(:folder, _from, state), do: {:reply, state.listener.dir.path, state}

  def handle_call(:mend, _from, state) do
    case Listener.mend(state.listener, state.send_timeout) do
      :whole ->
        {:reply, :ok, state}

      {:ok, listener} ->
        Logger.warning("made #{listener.dir.path} anew, which something had removed")
        {:reply, :ok, listen_to(state, listener)}

      {:error, reason} ->
        Logger.error("#{state.listener.dir.path} is gone: #{reason}")
        {:reply, :ok, state}
    end
  end

  def handle_call({:writer, routing_id}, _from, state) do
    case RoutingTable.fetch(state.table, routing_id) do
      {:ok, holder} -> {:reply, {:ok, holder.writer}, state}
      :error -> {:reply, :error, state}
    end
  end

  def handle_call(:start_connection, _from, state) do
    if MapSet.size(state.connections) < state.max_connections do
      connection = Connection.start_link(state.config)
      {:reply, {:ok, connection}, update_in(state.connections, &MapSet.put(&1, connection))}
    else
      {:reply, {:error, :max_connections}, state}
    end
  end

  def handle_call({:claim, routing_id, writer, socket}, {reader, _tag} = from, state) do
    holder = %{reader: reader, writer: writer, socket: socket, from: from}

    case RoutingTable.claim(state.table, routing_id, holder, state.handover?) do
      {:ok, routing_id, table} ->
        {:reply, {:ok, routing_id}, %{state | table: table}}

      {:error, :in_use} ->
        {:reply, {:error, :in_use}, state}

      {:wait, old, turned_away, table} ->
        disconnect(old, {:shutdown, :handover})
        if turned_away, do: GenServer.reply(turned_away.from, {:error, :in_use})
        {:noreply, %{state | table: table}}
    end
  end

  defp listen_to(%{listener: %{socket: socket}} = state, %{socket: socket} = listener),
    do: %{state | listener: listener}

  # Its acceptor ends with the old socket.
  defp listen_to(state, listener) do
    :gen_tcp.close(state.listener.socket)
    %{state | listener: listener, acceptor: Acceptor.start_link(listener.socket, self())}
  end

  @impl true
  # It waits in code of its own for days. When that has been loaded anew twice the purge of the oldest kills it.
  def handle_info({:EXIT, acceptor, :killed}, %{acceptor: acceptor, listener: listener} = state),
    do: {:noreply, %{state | acceptor: Acceptor.start_link(listener.socket, self())}}

  def handle_info({:EXIT, acceptor, reason}, %{acceptor: acceptor} = state),
    do: {:stop, reason, state}

  def handle_info({:EXIT, pid, reason}, state) do
    log_crash(reason)

    if MapSet.member?(state.connections, pid),
      do: {:noreply, forget(state, pid)},
      else: {:noreply, writer_ended(state, pid)}
  end

  def handle_info(_message, state), do: {:noreply, state}

  # Crash reports of bare processes are SASL's, which Elixir's Logger leaves out by default.
  defp log_crash(reason) when reason in [:normal, :shutdown, :killed], do: :ok
  defp log_crash({:shutdown, _reason}), do: :ok

  defp log_crash(reason),
    do: Logger.error("a ZMTP connection crashed: #{Exception.format_exit(reason)}")

  defp forget(state, reader) do
    {released, next, table} = RoutingTable.release(state.table, reader)
    # A killed reader's socket goes with it, but not at once if another holds its port.
    if released, do: :gen_tcp.close(released.socket)

    with {routing_id, holder} <- next, do: GenServer.reply(holder.from, {:ok, routing_id})

    %{state | table: table, connections: MapSet.delete(state.connections, reader)}
  end

  # Its reader may be blocked in a recv and would not see the link's signal.
  defp writer_ended(state, writer) do
    case RoutingTable.find_writer(state.table, writer) do
      nil -> :ok
      holder -> :gen_tcp.close(holder.socket)
    end

    state
  end

  # The signal first: the reader should see it before it sees the socket closed.
  defp disconnect(holder, reason) do
    Process.exit(holder.reader, reason)
    :gen_tcp.close(holder.socket)
  end

  @impl true
  def terminate(_reason, state) do
    Listener.close(state.listener)
    Enum.each(state.connections, &Process.exit(&1, :shutdown))
    Enum.each(RoutingTable.all(state.table), &:gen_tcp.close(&1.socket))
    timer = Process.send_after(self(), :close_timeout, @close_timeout)
    await_ends(state.connections)
    Process.cancel_timer(timer)
  end

  defp await_ends(connections) do
    if MapSet.size(connections) > 0 do
      receive do
        {:EXIT, pid, _reason} -> await_ends(MapSet.delete(connections, pid))
        :close_timeout -> Enum.each(connections, &Process.exit(&1, :kill))
      end
    end
  end
end
