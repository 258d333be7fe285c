defmodule ErlangPython.ZMTP.Reader do
  @moduledoc false
  # The loop of a connection process whose handshake is done: parses what arrives and hands
  # whole messages to the handler. It never sends. A bare loop, not a GenServer: every
  # answer passes here.
  #
  # It traps exits only so that `c:ErlangPython.ZMTP.Handler.handle_close/2` runs; otherwise it
  # behaves as a process that does not.

  require Logger

  alias ErlangPython.ZMTP.{Command, Decoder, ProtocolError, Reader}

  # Messages before the socket asks to be armed again. `:once` would take the socket out of
  # the scheduler's poll set after each packet, which costs tens of microseconds.
  @active 100

  # A frame that lacks more than this is read by recv, straight into one binary.
  @passive_from 65_536

  # Milliseconds without the rest of a long frame until other messages have their turn; and
  # how long an exit signal may come behind the closed socket that it explains.
  @stalled 200

  # gen_tcp refuses to read more at a time.
  @max_recv 0x3FFFFFF

  @enforce_keys [:socket, :router, :writer, :handler, :state, :decoder, :name]
  defstruct [:socket, :router, :writer, :handler, :state, :decoder, :name]

  @type t :: %Reader{
          socket: :gen_tcp.socket(),
          router: pid(),
          writer: pid(),
          handler: module(),
          state: term(),
          decoder: Decoder.t(),
          name: String.t()
        }

  @doc "Starts with the bytes that came behind the handshake."
  @spec enter_loop(t(), binary()) :: no_return()
  def enter_loop(%Reader{} = reader, bytes) do
    reader = feed(reader, bytes)

    if long?(reader),
      do: reader |> receive_long() |> arm() |> __MODULE__.loop(),
      else: reader |> arm() |> __MODULE__.loop()
  end

  # Exported, and always called so: after each message the newest code that is loaded goes on.
  @doc false
  @spec loop(t()) :: no_return()
  def loop(%Reader{socket: socket} = reader) do
    receive do
      {:tcp, ^socket, bytes} ->
        reader = feed(reader, bytes)

        if long?(reader),
          do: reader |> read_long() |> __MODULE__.loop(),
          else: __MODULE__.loop(reader)

      {:tcp_passive, ^socket} ->
        reader |> arm() |> __MODULE__.loop()

      {:tcp_closed, ^socket} ->
        close(reader, :closed)

      {:tcp_error, ^socket, reason} ->
        close(reader, {:socket, reason})

      {:system, from, request} ->
        :sys.handle_system_msg(request, from, reader.router, __MODULE__, [], reader)

      message ->
        reader |> handle_other(message) |> __MODULE__.loop()
    end
  end

  defp feed(reader, bytes) do
    case Decoder.feed(reader.decoder, bytes) do
      {:ok, messages, commands, decoder} ->
        %{reader | decoder: decoder} |> deliver(messages) |> obey(commands)

      {:error, error, messages} ->
        reader |> deliver(messages) |> close(error)
    end
  end

  defp deliver(reader, []), do: reader
  defp deliver(reader, messages), do: call_handler(reader, :handle_messages, messages)

  defp obey(reader, []), do: reader
  defp obey(reader, commands), do: Enum.reduce(commands, reader, &obey_one/2)

  # The TTL of a PING is for networks where a dead host goes unnoticed; here the kernel tells.
  defp obey_one({:ping, _ttl, context}, reader) do
    send(reader.writer, {:tx, Command.encode({:pong, context})})
    reader
  end

  defp obey_one({:error, reason}, reader),
    do: close(reader, %ProtocolError{reason: {:error_command, reason}})

  # "ZMTP supports extensible security mechanisms and these may define their own commands";
  # libzmq drops what it does not know too.
  defp obey_one(_command, reader), do: reader

  defp long?(reader), do: Decoder.missing(reader.decoder) > @passive_from

  defp arm(reader) do
    # {active, N} adds N to the count: only ever called when it is zero.
    case :inet.setopts(reader.socket, active: @active) do
      :ok -> reader
      {:error, _reason} -> await_reason(reader)
    end
  end

  # The writer or the router has closed the socket; an exit signal says why.
  defp await_reason(reader) do
    receive do
      {:EXIT, pid, reason} when is_pid(pid) ->
        reader |> handle_exit(pid, reason) |> await_reason()
    after
      @stalled -> close(reader, :closed)
    end
  end

  defp read_long(reader) do
    case :inet.setopts(reader.socket, active: false) do
      :ok -> reader |> drain() |> receive_long() |> arm()
      # Closed: the mailbox holds what was received before, and the reason.
      {:error, _reason} -> reader
    end
  end

  # What was delivered before the socket became passive comes first.
  defp drain(%Reader{socket: socket} = reader) do
    receive do
      {:tcp, ^socket, bytes} -> reader |> feed(bytes) |> drain()
      {:tcp_passive, ^socket} -> drain(reader)
      {:tcp_closed, ^socket} -> close(reader, :closed)
      {:tcp_error, ^socket, reason} -> close(reader, {:socket, reason})
    after
      0 -> reader
    end
  end

  # A blocked recv ends at once when the writer or the router closes the socket; for all else
  # that may happen, a stalled one is interrupted. The driver keeps what it has read so far.
  defp receive_long(reader) do
    if long?(reader) do
      missing = min(Decoder.missing(reader.decoder), @max_recv)

      case :gen_tcp.recv(reader.socket, missing, @stalled) do
        {:ok, bytes} -> reader |> feed(bytes) |> receive_long()
        {:error, :timeout} -> reader |> handle_others() |> receive_long()
        {:error, :closed} -> close(reader, :closed)
        {:error, reason} -> close(reader, {:socket, reason})
      end
    else
      # The handler has passed the frame on; an idle reader must not keep it alive.
      :erlang.garbage_collect()
      reader
    end
  end

  defp handle_others(reader) do
    receive do
      message when not is_tuple(message) or elem(message, 0) != :system ->
        reader |> handle_other(message) |> handle_others()
    after
      0 -> reader
    end
  end

  defp handle_other(reader, {:EXIT, pid, reason}), do: handle_exit(reader, pid, reason)
  defp handle_other(reader, message), do: call_handler(reader, :handle_info, message)

  defp handle_exit(%Reader{writer: pid} = reader, pid, reason) do
    case reason do
      {:shutdown, {:send, :closed}} -> close(reader, :closed)
      {:shutdown, {:send, reason}} -> close(reader, {:send, reason})
      reason -> close(reader, {:exit, reason})
    end
  end

  defp handle_exit(%Reader{router: router} = reader, pid, :normal) when pid != router, do: reader
  defp handle_exit(reader, _pid, reason), do: close(reader, {:exit, reason})

  defp call_handler(%Reader{handler: handler, state: state} = reader, callback, argument) do
    apply(handler, callback, [argument, state])
  catch
    kind, reason ->
      :gen_tcp.close(reader.socket)
      handler.handle_close({:crash, reason}, state)
      :erlang.raise(kind, reason, __STACKTRACE__)
  else
    {:ok, state} -> %{reader | state: state}
    {:finish, state} -> finish(%{reader | state: state})
    {:close, reason} -> close(reader, {:handler, reason})
  end

  # The kernel hands out what it holds for us, and then an end of file. It is read here: whoever waits for the runtime to
  # tell of the peer's end may wait for ever (OTP 29).
  @spec finish(t()) :: no_return()
  defp finish(reader) do
    with :ok <- :gen_tcp.shutdown(reader.socket, :read),
         :ok <- :inet.setopts(reader.socket, active: false) do
      reader |> drain() |> receive_rest()
    else
      {:error, _reason} -> reader |> drain() |> close(:closed)
    end
  end

  @spec receive_rest(t()) :: no_return()
  defp receive_rest(reader) do
    case :gen_tcp.recv(reader.socket, 0, @stalled) do
      {:ok, bytes} -> reader |> feed(bytes) |> receive_rest()
      {:error, _reason} -> close(reader, :closed)
    end
  end

  @spec close(t(), ErlangPython.ZMTP.Handler.close_reason()) :: no_return()
  defp close(reader, reason) do
    log(reader, reason)
    :gen_tcp.close(reader.socket)
    reader.handler.handle_close(reason, reader.state)
    exit({:shutdown, reason})
  end

  defp log(reader, %ProtocolError{} = error),
    do: Logger.warning("#{reader.name} was disconnected: #{Exception.message(error)}")

  defp log(reader, {:send, :timeout}),
    do: Logger.warning("#{reader.name} was disconnected: it has stopped reading")

  defp log(_reader, _reason), do: :ok

  @doc false
  def system_continue(_parent, _debug, reader), do: __MODULE__.loop(reader)

  @doc false
  @spec system_terminate(term(), pid(), [:sys.dbg_opt()], t()) :: no_return()
  def system_terminate(reason, _parent, _debug, reader), do: close(reader, {:exit, reason})

  @doc false
  def system_code_change(reader, _module, _old_version, _extra), do: {:ok, reader}
end
