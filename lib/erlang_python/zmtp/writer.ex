defmodule ErlangPython.ZMTP.Writer do
  @moduledoc false
  # The only process that sends on a connection's socket once its handshake is done. Send it
  # `{:tx, iodata}` with whole frames (`ErlangPython.ZMTP.Frame.encode_message/1`).
  #
  # Apart from the reader because one process that sends and receives deadlocks with a peer
  # that does the same: both wait for the other to read. It drains its mailbox into one
  # send, since many senders on one socket fight for the port's lock.

  @max_batch 64
  # Above it a batch is worth a garbage collection, or an idle writer would keep it alive.
  @large 65_536

  @doc "Starts a writer that holds everything back until `open/2`. Linked to both."
  @spec start_link(:gen_tcp.socket(), router :: pid()) :: pid()
  def start_link(socket, router),
    do: :proc_lib.spawn_link(__MODULE__, :init, [socket, router])

  @doc "Sends `first`, the end of the handshake, and then what has come meanwhile."
  @spec open(pid(), iodata()) :: :ok
  def open(writer, first) do
    send(writer, {:open, first})
    :ok
  end

  @doc false
  def init(socket, router) do
    # It traps exits to close the socket: the reader may be blocked in a passive recv.
    Process.flag(:trap_exit, true)
    Process.flag(:message_queue_data, :off_heap)
    Process.link(router)

    receive do
      {:open, first} -> socket |> transmit(first) |> __MODULE__.loop()
      {:EXIT, _pid, reason} -> stop(socket, reason)
    end
  end

  # Exported, and always called so: after each message the newest code that is loaded goes on.
  @doc false
  @spec loop(:gen_tcp.socket()) :: no_return()
  def loop(socket) do
    receive do
      {:tx, iodata} -> socket |> transmit(drain([iodata], @max_batch - 1)) |> __MODULE__.loop()
      {:EXIT, _pid, reason} -> stop(socket, reason)
      _other -> __MODULE__.loop(socket)
    end
  end

  defp drain(batch, 0), do: Enum.reverse(batch)

  defp drain(batch, left) do
    receive do
      {:tx, iodata} -> drain([iodata | batch], left - 1)
    after
      0 -> Enum.reverse(batch)
    end
  end

  defp transmit(socket, batch) do
    large? = IO.iodata_length(batch) > @large

    case :gen_tcp.send(socket, batch) do
      :ok -> if large?, do: :erlang.garbage_collect()
      {:error, reason} -> stop(socket, {:send, reason})
    end

    socket
  end

  @spec stop(:gen_tcp.socket(), term()) :: no_return()
  defp stop(socket, reason) do
    :gen_tcp.close(socket)
    exit({:shutdown, reason})
  end
end
