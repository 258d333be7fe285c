defmodule ErlangPython.ZMTP.Listener do
  @moduledoc false
  # A listening socket, its endpoint, and what must go away with it.

  alias ErlangPython.ZMTP.{Listener, SocketDir}

  @enforce_keys [:socket, :endpoint]
  defstruct [:socket, :endpoint, :dir]

  @type t :: %Listener{
          socket: :gen_tcp.socket(),
          endpoint: String.t(),
          dir: SocketDir.t() | nil
        }

  @spec open(:ipc | :tcp, Path.t() | nil, timeout()) :: {:ok, t()} | {:error, String.t()}
  def open(:ipc, base, send_timeout) do
    with {:ok, dir} <- SocketDir.create(base) do
      options = [{:ifaddr, {:local, dir.socket_path}} | options(send_timeout)]

      case :gen_tcp.listen(0, options) do
        {:ok, socket} ->
          {:ok, %Listener{socket: socket, endpoint: "ipc://" <> dir.socket_path, dir: dir}}

        {:error, reason} ->
          SocketDir.remove(dir)
          {:error, "cannot listen on #{dir.socket_path}: #{:inet.format_error(reason)}"}
      end
    end
  end

  # Loopback only: NULL authenticates nobody, so no network may see this port.
  def open(:tcp, _base, send_timeout) do
    with {:ok, socket} <-
           :gen_tcp.listen(0, [
             {:ip, {127, 0, 0, 1}},
             {:nodelay, true} | options(send_timeout)
           ]),
         {:ok, port} <- :inet.port(socket) do
      {:ok, %Listener{socket: socket, endpoint: "tcp://127.0.0.1:#{port}"}}
    else
      {:error, reason} ->
        {:error, "cannot listen on tcp://127.0.0.1: #{:inet.format_error(reason)}"}
    end
  end

  @spec close(t()) :: :ok
  def close(%Listener{socket: socket, dir: dir}) do
    :gen_tcp.close(socket)
    if dir, do: SocketDir.remove(dir), else: :ok
  end

  # buffer: the default of 1460 bytes for unix sockets makes large frames five times slower.
  # linger: a close must not wait for a peer that has stopped reading; with data still
  # queued even the emulator's halt would wait for it.
  defp options(send_timeout) do
    [
      :binary,
      packet: :raw,
      active: false,
      buffer: 65_536,
      backlog: 1_024,
      linger: {true, 0},
      send_timeout: send_timeout
    ]
  end
end
