defmodule ErlangPython.ZMTPRawPeer do
  @moduledoc false
  # A peer whose bytes the test writes by hand over a plain socket, as no libzmq would. The router's handler is
  # `ErlangPython.ZMTPHandler`.

  import ExUnit.Assertions
  import ErlangPython.PoolCase, only: [eventually: 1]

  alias ErlangPython.ZMTP.{Command, Frame, Greeting, Router}

  @doc "A connection on which nothing has been said."
  def connect(router) do
    {address, port} =
      case Router.endpoint(router) do
        "ipc://" <> path -> {{:local, path}, 0}
        "tcp://127.0.0.1:" <> port -> {{127, 0, 0, 1}, String.to_integer(port)}
      end

    {:ok, socket} = :gen_tcp.connect(address, port, [:binary, active: false])
    socket
  end

  def ready(properties), do: Command.encode({:ready, properties})

  def frame(body), do: Frame.encode_message([body])

  @doc "Connects and says all of the peer's part of the handshake."
  def join(router, properties) do
    socket = connect(router)
    :ok = :gen_tcp.send(socket, [Greeting.encode(), ready(properties)])
    socket
  end

  @doc "Joins as a DEALER; gives its socket and the router's two processes for it."
  def join!(router, identity) do
    socket = join(router, %{"Socket-Type" => "DEALER", "Identity" => identity})
    assert_receive {:peer, %{routing_id: ^identity}, writer, reader}
    assert read_handshake(socket) == "READY"
    {socket, writer, reader}
  end

  @doc "Reads the router's greeting; gives the name of the command behind it."
  def read_handshake(socket) do
    greeting = Greeting.encode()
    assert {:ok, ^greeting} = :gen_tcp.recv(socket, 64)
    {name, _data} = read_command(socket)
    name
  end

  def read_command(socket) do
    assert {:ok, <<4, size>>} = :gen_tcp.recv(socket, 2)

    assert {:ok, <<length, name::binary-size(length), data::binary>>} =
             :gen_tcp.recv(socket, size)

    {name, data}
  end

  @doc "All that still comes before the end of the stream."
  def read_to_end(socket, acc \\ "") do
    case :gen_tcp.recv(socket, 0, 5_000) do
      {:ok, bytes} -> read_to_end(socket, acc <> bytes)
      {:error, reason} when reason in [:closed, :econnreset] -> acc
    end
  end

  @doc "That many messages of a peer's, as its handler got them."
  def receive_messages(_id, 0), do: []

  def receive_messages(id, left) do
    assert_receive {:messages, ^id, messages}
    messages ++ receive_messages(id, left - length(messages))
  end

  @doc "Waits until a reader is in the middle of a long frame, where its state can't be asked for."
  def await_recv(reader) do
    case Process.info(reader, :current_function) do
      {:current_function, {:prim_inet, :recv0, _}} -> :ok
      {:current_function, _} -> Process.sleep(1) && await_recv(reader)
    end
  end

  # Monitors hear of a process's end before, with, or after the router, which is linked.
  def assert_free(router, routing_id),
    do: eventually(fn -> assert Router.writer(router, routing_id) == :error end)

  def assert_down(pid) do
    ref = Process.monitor(pid)
    assert_receive {:DOWN, ^ref, :process, ^pid, _reason}
  end
end
