defmodule ErlangPython.ZMTP.Listener do
  @moduledoc false
  # A listening socket, its endpoint, and what must go away with it.

  alias ErlangPython.ZMTP.{Listener, SocketDir}

  @enforce_keys [:socket, :endpoint, :dir]
  defstruct [:socket, :endpoint, :dir]

  @type t :: %Listener{
          socket: :gen_tcp.socket(),
          endpoint: String.t(),
          dir: SocketDir.t()
        }

  @doc "A socket and a private folder, in which that of `:ipc` lies."
  @spec open(:ipc | :tcp, Path.t() | nil, timeout()) :: {:ok, t()} | {:error, String.t()}
  def open(transport, base, send_timeout) do
    with {:ok, dir} <- SocketDir.create(base) do
      case listen(transport, dir, options(send_timeout)) do
        {:ok, socket, endpoint} ->
          {:ok, %Listener{socket: socket, endpoint: endpoint, dir: dir}}

        {:error, where, reason} ->
          SocketDir.remove(dir)
          {:error, "cannot listen on #{where}: #{:inet.format_error(reason)}"}
      end
    end
  end

  defp listen(:ipc, %{socket_path: path}, options) do
    case :gen_tcp.listen(0, [{:ifaddr, {:local, path}} | options]) do
      {:ok, socket} -> {:ok, socket, "ipc://" <> path}
      {:error, reason} -> {:error, path, reason}
    end
  end

  # Loopback only: NULL authenticates nobody, so no network may see this port.
  defp listen(:tcp, _dir, options) do
    with {:ok, socket} <- :gen_tcp.listen(0, [{:ip, {127, 0, 0, 1}}, {:nodelay, true} | options]),
         {:ok, port} <- :inet.port(socket) do
      {:ok, socket, "tcp://127.0.0.1:#{port}"}
    else
      {:error, reason} -> {:error, "tcp://127.0.0.1", reason}
    end
  end

  @doc "Replaces what is missing of the folder and the socket in it. A listener with a new socket leaves the old one open."
  @spec mend(t(), timeout()) :: :whole | {:ok, t()} | {:error, String.t()}
  def mend(%Listener{endpoint: endpoint, dir: dir} = listener, send_timeout) do
    case endpoint do
      "ipc://" <> path -> unless_there(path, fn -> listen_anew(listener, send_timeout) end)
      "tcp://" <> _port -> unless_there(dir.path, fn -> remake(listener) end)
    end
  end

  defp unless_there(path, make), do: if(File.exists?(path), do: :whole, else: make.())

  defp listen_anew(%{dir: dir} = listener, send_timeout) do
    with {:ok, listener} <- remake(listener) do
      case listen(:ipc, dir, options(send_timeout)) do
        {:ok, socket, _endpoint} ->
          {:ok, %{listener | socket: socket}}

        {:error, where, reason} ->
          {:error, "cannot listen on #{where}: #{:inet.format_error(reason)}"}
      end
    end
  end

  defp remake(%{dir: dir} = listener) do
    with {:ok, dir} <- SocketDir.remake(dir), do: {:ok, %{listener | dir: dir}}
  end

  @spec close(t()) :: :ok
  def close(%Listener{socket: socket, dir: dir}) do
    :gen_tcp.close(socket)
    SocketDir.remove(dir)
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
