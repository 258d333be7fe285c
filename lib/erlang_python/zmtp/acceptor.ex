defmodule ErlangPython.ZMTP.Acceptor do
  @moduledoc false
  # Accepts, and hands each socket to a connection process of its own at once, so that no
  # peer can hold up another. Linked to the router, which owns the listening socket.

  require Logger

  alias ErlangPython.ZMTP.Router

  # How long to wait for descriptors, or connections, to be freed before accepting again.
  @full_pause 200

  @spec start_link(:gen_tcp.socket(), router :: pid()) :: pid()
  def start_link(listen_socket, router),
    do: :proc_lib.spawn_link(__MODULE__, :loop, [listen_socket, router])

  @doc false
  def loop(listen_socket, router) do
    case :gen_tcp.accept(listen_socket) do
      {:ok, socket} ->
        hand_over(socket, Router.start_connection(router))

      {:error, reason} when reason in [:emfile, :enfile, :enobufs, :enomem] ->
        pause(:inet.format_error(reason))

      # The peer was gone before it was accepted.
      {:error, :econnaborted} ->
        :ok

      {:error, reason} ->
        exit({:shutdown, {:accept, reason}})
    end

    __MODULE__.loop(listen_socket, router)
  end

  defp hand_over(socket, {:ok, connection}) do
    # Fails when the peer is gone already; the connection then finds its socket closed.
    _ = :gen_tcp.controlling_process(socket, connection)
    send(connection, {:socket, socket})
  end

  defp hand_over(socket, {:error, :max_connections}) do
    :gen_tcp.close(socket)
    pause("it has as many connections as it may")
  end

  defp pause(reason) do
    Logger.error("ZMTP router cannot accept: #{reason}")
    Process.sleep(@full_pause)
  end
end
