defmodule ErlangPython.ZMTP.RouterTest do
  # What a router does with peers that no libzmq would be: bytes by hand over plain sockets.
  # Not async: it counts log lines, and others' would be among them.
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog

  alias ErlangPython.ZMTP.{Command, Frame, Greeting, ProtocolError, Router}
  alias ErlangPython.ZMTPHandler

  @moduletag :capture_log

  @transports [:ipc, :tcp]

  defp start_router(options \\ []) do
    {arg, options} = Keyword.pop(options, :arg, %{})

    start_supervised!(
      {Router, [handler: ZMTPHandler, handler_arg: Map.put(arg, :test, self())] ++ options}
    )
  end

  defp connect(router) do
    {address, port} =
      case Router.endpoint(router) do
        "ipc://" <> path -> {{:local, path}, 0}
        "tcp://127.0.0.1:" <> port -> {{127, 0, 0, 1}, String.to_integer(port)}
      end

    {:ok, socket} = :gen_tcp.connect(address, port, [:binary, active: false])
    socket
  end

  defp ready(properties), do: Command.encode({:ready, properties})

  defp join(router, properties) do
    socket = connect(router)
    :ok = :gen_tcp.send(socket, [Greeting.encode(), ready(properties)])
    socket
  end

  defp join!(router, identity) do
    socket = join(router, %{"Socket-Type" => "DEALER", "Identity" => identity})
    assert_receive {:peer, %{routing_id: ^identity}, writer, reader}
    assert read_handshake(socket) == "READY"
    {socket, writer, reader}
  end

  # The router's greeting and the name of the command behind it.
  defp read_handshake(socket) do
    greeting = Greeting.encode()
    assert {:ok, ^greeting} = :gen_tcp.recv(socket, 64)
    {name, _data} = read_command(socket)
    name
  end

  defp read_command(socket) do
    assert {:ok, <<4, size>>} = :gen_tcp.recv(socket, 2)

    assert {:ok, <<length, name::binary-size(length), data::binary>>} =
             :gen_tcp.recv(socket, size)

    {name, data}
  end

  # All that still comes before the end of the stream.
  defp read_to_end(socket, acc \\ "") do
    case :gen_tcp.recv(socket, 0, 5_000) do
      {:ok, bytes} -> read_to_end(socket, acc <> bytes)
      {:error, reason} when reason in [:closed, :econnreset] -> acc
    end
  end

  defp frame(body), do: Frame.encode_message([body])

  # Monitors hear of a process's end before, with, or after the router, which is linked.
  defp assert_free(router, routing_id),
    do: assert(eventually(fn -> Router.writer(router, routing_id) == :error end))

  defp eventually(fun, attempts \\ 5_000) do
    fun.() || (attempts > 0 && Process.sleep(1) && eventually(fun, attempts - 1))
  end

  defp assert_down(pid) do
    ref = Process.monitor(pid)
    assert_receive {:DOWN, ^ref, :process, ^pid, _reason}
  end

  for transport <- @transports do
    describe "over #{transport}" do
      setup do: %{router: start_router(transport: unquote(transport))}

      test "a peer joins, is heard, and is found by its routing id", %{router: router} do
        {socket, writer, _reader} = join!(router, "me")
        assert Router.writer(router, "me") == {:ok, writer}
        assert Router.writer(router, "you") == :error

        :ok = :gen_tcp.send(socket, [frame("one"), frame("two")])
        assert receive_messages("me", 2) == [["one"], ["two"]]

        send(writer, {:tx, frame("answer")})
        assert {:ok, <<0, 6, "answer">>} = :gen_tcp.recv(socket, 8)

        :gen_tcp.close(socket)
        assert_receive {:closed, "me", :closed}
        assert_down(writer)
      end

      test "a message and the handshake in one packet", %{router: router} do
        socket = connect(router)
        properties = %{"Socket-Type" => "DEALER", "Identity" => "me"}
        :ok = :gen_tcp.send(socket, [Greeting.encode(), ready(properties), frame("early")])
        assert_receive {:messages, "me", [["early"]]}
      end

      test "a long frame begun behind the handshake", %{router: router} do
        socket = connect(router)
        properties = %{"Socket-Type" => "DEALER", "Identity" => "me"}
        body = :binary.copy("x", 1_000_000)
        :ok = :gen_tcp.send(socket, [Greeting.encode(), ready(properties), frame(body)])
        assert_receive {:messages, "me", [[^body]]}
        :ok = :gen_tcp.send(socket, frame("next"))
        assert_receive {:messages, "me", [["next"]]}
      end

      test "bytes one by one", %{router: router} do
        socket = connect(router)
        properties = %{"Socket-Type" => "DEALER", "Identity" => "me"}
        long = :binary.copy("y", 300)

        bytes =
          IO.iodata_to_binary([Greeting.encode(), ready(properties), frame("x"), frame(long)])

        for <<byte <- bytes>>, do: :ok = :gen_tcp.send(socket, <<byte>>)
        assert receive_messages("me", 2) == [["x"], [long]]
      end
    end
  end

  describe "the handshake" do
    test "a peer of ZMTP 3.0 with further metadata joins" do
      router = start_router()
      socket = connect(router)
      <<signature::binary-size(10), 3, 1, rest::binary>> = Greeting.encode()
      :ok = :gen_tcp.send(socket, [signature, 3, 0, rest])
      :ok = :gen_tcp.send(socket, ready(%{"SOCKET-TYPE" => "REQ", "X-Who" => "me"}))

      assert_receive {:peer, peer, _writer, _reader}
      assert peer.properties == %{"socket-type" => "REQ", "x-who" => "me"}
      assert read_handshake(socket) == "READY"
    end

    test "a peer without an identity gets one of five bytes, the first zero" do
      router = start_router()

      ids =
        for properties <- [%{}, %{"Identity" => ""}] do
          join(router, Map.put(properties, "Socket-Type", "DEALER"))
          assert_receive {:peer, %{routing_id: <<0, _::32>> = id}, writer, _reader}
          assert Router.writer(router, id) == {:ok, writer}
          id
        end

      assert length(Enum.uniq(ids)) == 2
    end

    test "on Linux the kernel says who the peer is" do
      router = start_router()
      join(router, %{"Socket-Type" => "DEALER"})
      assert_receive {:peer, peer, _writer, _reader}

      if :os.type() == {:unix, :linux} do
        assert peer.os_pid == String.to_integer(System.pid())
        assert peer.uid == File.stat!("/proc/self").uid
      else
        assert %{os_pid: nil, uid: nil} = peer
      end
    end

    test "over tcp nobody says" do
      router = start_router(transport: :tcp)
      join(router, %{"Socket-Type" => "DEALER"})
      assert_receive {:peer, %{os_pid: nil, uid: nil}, _writer, _reader}
    end

    test "what the handler sends from its init goes out behind READY" do
      init = fn _peer, writer, _arg ->
        send(writer, {:tx, frame("welcome")})
        {:ok, %{test: self(), id: nil}}
      end

      router = start_router(arg: %{init: init})
      socket = join(router, %{"Socket-Type" => "DEALER"})
      assert read_handshake(socket) == "READY"
      assert {:ok, <<0, 7, "welcome">>} = :gen_tcp.recv(socket, 9)
    end

    test "silent peers hold up nobody" do
      router = start_router()
      for _ <- 1..50, do: connect(router)
      # Would take 50 handshake timeouts if they were handled one after another.
      join!(router, "me")
      # Before its peers: it would log that they leave, after the test.
      stop_supervised!(Router)
    end

    test "a peer that does not complete it is dropped at the deadline" do
      router = start_router(handshake_timeout: 50)

      log =
        capture_log(fn ->
          silent = connect(router)
          half = connect(router)
          :ok = :gen_tcp.send(half, binary_part(Greeting.encode(), 0, 11))
          assert read_to_end(silent) == Greeting.encode()
          assert read_to_end(half) == Greeting.encode()
        end)

      assert length(String.split(log, "in time")) == 3
    end

    test "a peer that leaves in the middle is nobody's concern" do
      router = start_router()

      log =
        capture_log(fn ->
          for size <- [0, 1, 11, 64] do
            socket = connect(router)
            :ok = :gen_tcp.send(socket, binary_part(Greeting.encode(), 0, size))
            :gen_tcp.close(socket)
          end

          join!(router, "me")
        end)

      refute log =~ "refused"
    end
  end

  # name, bytes, what the router answers behind its greeting, what it logs
  @refusals [
    {"ZMTP 1.0", <<1, 0>>, "", "ZMTP 1.0"},
    {"ZMTP 2.0", <<0xFF, 0::56, 1, 0x7F, 1, 5, 0, 0>>, "", "ZMTP 2.0"},
    {"HTTP", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "", "no ZMTP"},
    {"TLS", <<0x16, 3, 1, 2, 0, 1>>, "", "no ZMTP"},
    {"PLAIN", <<0xFF, 0::64, 0x7F, 3, 1, "PLAIN", 0::15*8, 0, 0::31*8>>, "", "PLAIN"},
    {"a message for READY", Greeting.encode() <> <<0, 1, "x">>, "Malformed", "before READY"},
    {"PING for READY", Greeting.encode() <> <<4, 7, 4, "PING", 0, 0>>, "Malformed", "READY"},
    {"rubbish for READY", Greeting.encode() <> <<0xAA>>, "Malformed", "flags 0xAA"},
    {"a huge READY", Greeting.encode() <> <<6, 0x8000000000000000::64>>, "Malformed", "65536"},
    {"PUB",
     Greeting.encode() <>
       IO.iodata_to_binary(Command.encode({:ready, %{"Socket-Type" => "PUB"}})),
     "Invalid-Socket-Type", "PUB"},
    {"a reserved identity",
     Greeting.encode() <>
       IO.iodata_to_binary(
         Command.encode({:ready, %{"Socket-Type" => "DEALER", "Identity" => <<0, "x">>}})
       ), "Invalid-Identity", "zero byte"}
  ]

  for {name, bytes, answer, logged} <- @refusals do
    test "#{name} is refused, logged once, and harms nobody" do
      router = start_router()
      {other, _writer, _reader} = join!(router, "other")

      log =
        capture_log(fn ->
          socket = connect(router)
          :ok = :gen_tcp.send(socket, unquote(bytes))
          said = read_to_end(socket)
          greeting = Greeting.encode()

          case unquote(answer) do
            "" ->
              assert said == greeting

            answer ->
              assert said == greeting <> IO.iodata_to_binary(Command.encode({:error, answer}))
          end
        end)

      assert log =~ unquote(logged)
      assert length(String.split(log, "was refused")) == 2
      :ok = :gen_tcp.send(other, frame("still here"))
      assert_receive {:messages, "other", [["still here"]]}
    end
  end

  describe "routing ids" do
    test "a second connection with a used one is refused" do
      router = start_router()
      {first, writer, _reader} = join!(router, "me")

      log =
        capture_log(fn ->
          second = join(router, %{"Socket-Type" => "DEALER", "Identity" => "me"})
          # No ERROR: the id may be free a moment later.
          assert read_to_end(second) == Greeting.encode()
        end)

      assert log =~ "in use"
      refute_received {:peer, _, _, _}
      assert Router.writer(router, "me") == {:ok, writer}
      :ok = :gen_tcp.send(first, frame("mine"))
      assert_receive {:messages, "me", [["mine"]]}
    end

    test "is free again once the connection has ended" do
      router = start_router()

      for _ <- 1..20 do
        {socket, _writer, reader} = join!(router, "me")
        :gen_tcp.close(socket)
        assert_receive {:closed, "me", :closed}
        assert_down(reader)
        assert_free(router, "me")
      end
    end

    test "under handover the new connection takes it after the old one's close" do
      router = start_router(handover: true)
      {first, writer, reader} = join!(router, "me")
      {second, new_writer, _reader} = join!(router, "me")

      assert_received {:closed, "me", {:exit, {:shutdown, :handover}}}
      assert read_to_end(first) == ""
      assert_down(writer)
      assert_down(reader)
      assert Router.writer(router, "me") == {:ok, new_writer}
      :ok = :gen_tcp.send(second, frame("new"))
      assert_receive {:messages, "me", [["new"]]}
    end

    test "a peer that the handler rejects gets ERROR, and its id stays free" do
      test = self()

      init = fn peer, _writer, _arg ->
        if peer.properties["x-ok"], do: {:ok, %{test: test, id: "me"}}, else: {:reject, "not you"}
      end

      router = start_router(arg: %{init: init})
      properties = %{"Socket-Type" => "DEALER", "Identity" => "me"}

      log =
        capture_log(fn ->
          socket = join(router, properties)
          assert read_to_end(socket) == Greeting.encode() <> <<4, 14, 5, "ERROR", 7, "Refused">>
          assert_receive {:peer, _peer, writer, reader}
          assert_down(writer)
          assert_down(reader)
        end)

      assert log =~ "not you"
      assert_free(router, "me")
      socket = join(router, Map.put(properties, "X-Ok", "1"))
      assert read_handshake(socket) == "READY"
      refute_received {:closed, _, _}
    end
  end

  # name, bytes, reason
  @violations [
    {"a frame of 2^63 bytes", <<2, 0x8000000000000000::64>>,
     {:message_size, 0x8000000000000000, 1_000}},
    {"one byte over the limit", <<2, 1_001::64>>, {:message_size, 1_001, 1_000}},
    {"frames that add up to more", <<3, 600::64, 0::600*8, 2, 401::64>>,
     {:message_size, 1_001, 1_000}},
    {"too many frames", :binary.copy(<<1, 0>>, 8), {:frames, 8}},
    {"rubbish", <<0xDE, 0xAD, 0xBE, 0xEF>>, {:flags, 0xDE}},
    {"a malformed PING", <<4, 5, 4, "PING">>, {:malformed, "PING"}},
    {"ERROR", <<4, 9, 5, "ERROR", 2, "no">>, {:error_command, "no"}}
  ]

  for {name, bytes, reason} <- @violations do
    test "#{name} closes that connection, is logged once, and harms nobody" do
      router = start_router(max_message_size: 1_000, max_frames: 8)
      {other, _writer, _reader} = join!(router, "other")
      {socket, _writer, _reader} = join!(router, "me")
      reason = unquote(Macro.escape(reason))

      log =
        capture_log(fn ->
          :ok = :gen_tcp.send(socket, [frame("good"), unquote(bytes)])
          assert_receive {:messages, "me", [["good"]]}
          assert_receive {:closed, "me", %ProtocolError{reason: ^reason}}
          assert read_to_end(socket) == ""
        end)

      assert length(String.split(log, "was disconnected")) == 2
      refute log =~ "\"me\""
      :ok = :gen_tcp.send(other, frame("still here"))
      assert_receive {:messages, "other", [["still here"]]}
    end
  end

  describe "traffic" do
    test "PING is answered with its context, unknown commands are ignored" do
      router = start_router()
      {socket, _writer, _reader} = join!(router, "me")
      :ok = :gen_tcp.send(socket, <<4, 13, 9, "SUBSCRIBE", "abc">>)
      :ok = :gen_tcp.send(socket, <<4, 10, 4, "PING", 0, 0, "ctx", 4, 7, 4, "PING", 0, 0>>)
      assert read_command(socket) == {"PONG", "ctx"}
      assert read_command(socket) == {"PONG", ""}
    end

    test "exactly the limit passes" do
      router = start_router(max_message_size: 1_000, max_frames: 2)
      {socket, _writer, _reader} = join!(router, "me")
      :ok = :gen_tcp.send(socket, <<3, 600::64, 0::600*8, 2, 400::64, 0::400*8>>)
      assert_receive {:messages, "me", [[a, b]]}
      assert {byte_size(a), byte_size(b)} == {600, 400}
    end

    test "a half-written message is dropped with its connection" do
      router = start_router()

      for half <- [<<0>>, <<2, 0, 0>>, <<0, 5, "ab">>, <<1, 1, "a">>, <<2, 200_000::64, "abc">>] do
        {socket, _writer, reader} = join!(router, "me")
        :ok = :gen_tcp.send(socket, half)
        :gen_tcp.close(socket)
        assert_receive {:closed, "me", :closed}
        assert_down(reader)
        assert_free(router, "me")
      end

      refute_received {:messages, _, _}
    end

    test "the handler is served while the rest of a long frame is late" do
      router = start_router()
      {socket, _writer, reader} = join!(router, "me")
      body = :crypto.strong_rand_bytes(1_000_000)
      <<first::binary-size(400_000), second::binary>> = IO.iodata_to_binary(frame(body))
      :ok = :gen_tcp.send(socket, first)
      await_recv(reader)
      send(reader, :hello)
      assert_receive {:info, "me", :hello}
      :ok = :gen_tcp.send(socket, second)
      assert_receive {:messages, "me", [[^body]]}
      :ok = :gen_tcp.send(socket, frame("next"))
      assert_receive {:messages, "me", [["next"]]}
    end

    test "a large frame is one binary and does not stay in the reader" do
      router = start_router()
      {socket, _writer, reader} = join!(router, "me")
      body = :crypto.strong_rand_bytes(5_000_000)
      :ok = :gen_tcp.send(socket, [frame("before"), frame(body), frame("after")])
      assert receive_messages("me", 3) == [["before"], [body], ["after"]]

      # A round through the reader, so that it has gone on.
      send(reader, :marker)
      assert_receive {:info, "me", :marker}
      {:binary, binaries} = Process.info(reader, :binary)
      refute Enum.any?(binaries, fn {_id, size, _refs} -> size > 1_000_000 end)
    end

    test "a large frame that is sent does not stay in the writer" do
      router = start_router()
      {socket, writer, _reader} = join!(router, "me")
      send(writer, {:tx, Frame.encode_message([:binary.copy("x", 5_000_000)])})
      assert {:ok, _} = :gen_tcp.recv(socket, 5_000_009)
      # Taken after the collection that follows the large send.
      send(writer, {:tx, frame("after")})
      assert {:ok, _} = :gen_tcp.recv(socket, 7)
      {:binary, binaries} = Process.info(writer, :binary)
      refute Enum.any?(binaries, fn {_id, size, _refs} -> size > 1_000_000 end)
    end

    test "more packets than the socket is armed for" do
      router = start_router()
      {socket, writer, _reader} = join!(router, "me")

      for n <- 1..350 do
        :ok = :gen_tcp.send(socket, frame("#{n}"))
        text = "#{n}"
        assert_receive {:messages, "me", [[^text]]}
      end

      send(writer, {:tx, frame("end")})
      assert {:ok, <<0, 3, "end">>} = :gen_tcp.recv(socket, 5)
    end

    test "many senders' messages stay whole" do
      router = start_router()
      {socket, writer, _reader} = join!(router, "me")

      senders =
        for byte <- ?a..?p do
          Task.async(fn ->
            for size <- 1..100, do: send(writer, {:tx, frame(:binary.copy(<<byte>>, size * 7))})
          end)
        end

      bodies = for _ <- 1..1_600, do: read_message_frame(socket)
      Task.await_many(senders)

      for byte <- ?a..?p do
        own = Enum.filter(bodies, &(:binary.first(&1) == byte))
        assert own == for(size <- 1..100, do: :binary.copy(<<byte>>, size * 7))
      end
    end
  end

  defp read_message_frame(socket) do
    size =
      case :gen_tcp.recv(socket, 2) do
        {:ok, <<0, size>>} ->
          size

        {:ok, <<2, first>>} ->
          {:ok, <<rest::56>>} = :gen_tcp.recv(socket, 7)
          <<size::64>> = <<first, rest::56>>
          size
      end

    {:ok, body} = :gen_tcp.recv(socket, size)
    body
  end

  defp receive_messages(_id, 0), do: []

  defp receive_messages(id, left) do
    assert_receive {:messages, ^id, messages}
    messages ++ receive_messages(id, left - length(messages))
  end

  describe "the handler" do
    test "gets other messages, may close, and hears of the end" do
      router = start_router()
      {socket, writer, reader} = join!(router, "me")
      send(reader, :hello)
      assert_receive {:info, "me", :hello}
      :ok = :gen_tcp.send(socket, frame("close"))
      assert_receive {:closed, "me", {:handler, :asked}}
      assert read_to_end(socket) == ""
      assert_down(writer)
    end

    test "does not see the system messages that its reader answers" do
      router = start_router()
      {socket, _writer, reader} = join!(router, "me")
      :sys.suspend(reader)
      :ok = :gen_tcp.send(socket, frame("later"))
      :sys.resume(reader)
      assert_receive {:messages, "me", [["later"]]}
      refute_received {:info, _, _}
    end

    test "that raises takes only its own connection along" do
      router = start_router()
      {other, _writer, _reader} = join!(router, "other")
      {socket, writer, _reader} = join!(router, "me")

      log =
        capture_log(fn ->
          :ok = :gen_tcp.send(socket, frame("raise"))
          assert_receive {:closed, "me", {:crash, %RuntimeError{message: "asked"}}}
          assert_down(writer)
          assert_free(router, "me")
        end)

      assert log =~ "asked"
      :ok = :gen_tcp.send(other, frame("still here"))
      assert_receive {:messages, "other", [["still here"]]}
    end

    test "that raises in init leaves nothing" do
      router = start_router(arg: %{init: fn _peer, _writer, _arg -> raise "no" end})
      socket = join(router, %{"Socket-Type" => "DEALER", "Identity" => "me"})
      assert read_to_end(socket) == Greeting.encode()
      assert_receive {:peer, _peer, writer, reader}
      assert_down(writer)
      assert_down(reader)
      assert_free(router, "me")
    end
  end

  # name, what is done, the reason that the handler hears (nil: it cannot)
  @deaths [
    {"the reader is shut down", quote(do: &Process.exit(&1.reader, :shutdown)),
     {:exit, :shutdown}},
    {"the reader is killed", quote(do: &Process.exit(&1.reader, :kill)), nil},
    {"the writer is shut down", quote(do: &Process.exit(&1.writer, :shutdown)),
     {:exit, {:shutdown, :shutdown}}},
    {"the writer is killed", quote(do: &Process.exit(&1.writer, :kill)), {:exit, :killed}},
    {"the router is killed", quote(do: &Process.exit(&1.router, :kill)), {:exit, :killed}},
    {"the router stops", quote(do: &GenServer.stop(&1.router)), {:exit, :shutdown}}
  ]

  for {name, act, reason} <- @deaths, where <- [:idle, :in_a_long_frame] do
    test "#{name} (#{where}): reader, writer and socket go together" do
      {:ok, router} = start_unlinked_router(handler: ZMTPHandler, handler_arg: %{test: self()})

      {socket, writer, reader} = join!(router, "me")

      if unquote(where) == :in_a_long_frame do
        :ok = :gen_tcp.send(socket, <<2, 1_000_000::64, 0::100_000*8>>)
        await_recv(reader)
      end

      unquote(act).(%{reader: reader, writer: writer, router: router})
      assert_down(reader)
      assert_down(writer)
      assert read_to_end(socket) == ""

      case {unquote(Macro.escape(reason)), unquote(where)} do
        {nil, _where} ->
          refute_received {:closed, _, _}

        {reason, :idle} ->
          assert_received {:closed, "me", ^reason}

        # Blocked in a recv it hears only that the socket was closed.
        {_reason, :in_a_long_frame} ->
          assert_received {:closed, "me", _reason}
      end

      if Process.alive?(router), do: GenServer.stop(router)
    end
  end

  defp start_unlinked_router(options) do
    {:ok, router} = Router.start_link(options)
    Process.unlink(router)
    {:ok, router}
  end

  # The reader's state can't be asked for while it is blocked in a recv.
  defp await_recv(reader) do
    case Process.info(reader, :current_function) do
      {:current_function, {:prim_inet, :recv0, _}} -> :ok
      {:current_function, _} -> Process.sleep(1) && await_recv(reader)
    end
  end

  describe "limits and leftovers" do
    test "connections over the limit are closed, and there is room again later" do
      router = start_router(max_connections: 1)
      {socket, _writer, reader} = join!(router, "me")
      assert read_to_end(connect(router)) == ""
      :gen_tcp.close(socket)
      assert_down(reader)
      assert_free(router, "me")
      join!(router, "me")
    end

    test "a peer that reads nothing is given up after the send timeout" do
      router = start_router(send_timeout: 100)
      {_socket, writer, _reader} = join!(router, "me")

      log =
        capture_log(fn ->
          # The driver takes the first one into its queue, the next one has to wait.
          for _ <- 1..2,
              do: send(writer, {:tx, Frame.encode_message([:binary.copy("x", 10_000_000)])})

          assert_receive {:closed, "me", {:send, :timeout}}
          assert_down(writer)
        end)

      assert log =~ "stopped reading"
    end

    test "a router stops at once although a peer reads nothing" do
      {:ok, router} = Router.start_link(handler: ZMTPHandler, handler_arg: %{test: self()})
      {_socket, writer, _reader} = join!(router, "me")
      send(writer, {:tx, Frame.encode_message([:binary.copy("x", 10_000_000)])})
      GenServer.stop(router)
      assert_received {:closed, "me", _reason}
      assert_down(writer)
    end

    test "the directory has mode 0700 and is gone after a stop" do
      {:ok, router} = Router.start_link(handler: ZMTPHandler, handler_arg: %{test: self()})
      "ipc://" <> path = Router.endpoint(router)
      assert Bitwise.band(File.stat!(Path.dirname(path)).mode, 0o777) == 0o700
      GenServer.stop(router)
      refute File.exists?(Path.dirname(path))
    end

    test "what a killed BEAM left is swept by the next start" do
      base = Path.join("/tmp", "ep_killed_#{System.pid()}")
      File.mkdir!(base)
      on_exit(fn -> File.rm_rf!(base) end)

      script = """
      {:ok, router} = #{inspect(Router)}.start_link(handler: Any, socket_dir: #{inspect(base)})
      IO.puts(#{inspect(Router)}.endpoint(router))
      IO.read(:line)
      """

      beam =
        Port.open({:spawn_executable, System.find_executable("elixir")}, [
          :binary,
          :exit_status,
          line: 1_000,
          args: ["-pa", Path.dirname(:code.which(Router)), "-e", script]
        ])

      assert_receive {^beam, {:data, {:eol, "ipc://" <> path}}}, 30_000
      [left] = File.ls!(base)
      assert Path.dirname(path) == Path.join(base, left)
      ["erlang_python", os_pid, _random] = String.split(left, ".")

      router = start_router(socket_dir: base)
      assert left in File.ls!(base)
      stop_supervised!(Router)
      refute Process.alive?(router)

      {_, 0} = System.cmd("kill", ["-9", os_pid])
      assert_receive {^beam, {:exit_status, _status}}, 30_000
      assert File.ls!(base) == [left]
      start_router(socket_dir: base)
      assert length(File.ls!(base)) == 1
      refute left in File.ls!(base)
    end

    test "a path that is too long is a clear error" do
      Process.flag(:trap_exit, true)
      dir = "/tmp/" <> String.duplicate("d", 100)
      assert {:error, message} = Router.start_link(handler: ZMTPHandler, socket_dir: dir)
      assert message =~ "choose a shorter directory"
    end

    test "wrong options are named" do
      assert_raise ArgumentError, ~r/:handler/, fn -> Router.start_link([]) end

      assert_raise ArgumentError, ~r/:max_frames: 0/, fn ->
        Router.start_link(handler: ZMTPHandler, max_frames: 0)
      end

      assert_raise ArgumentError, ~r/unknown keys \[:nme\]/, fn ->
        Router.start_link(handler: ZMTPHandler, nme: 1)
      end
    end

    test "a hundred connections of all fates leave no process and no port" do
      router = start_router()
      {_socket, _writer, _reader} = join!(router, "stays")
      before = census(router)

      for n <- 1..100 do
        id = "peer #{n}"
        {socket, _writer, reader} = join!(router, id)

        case rem(n, 4) do
          0 -> :gen_tcp.close(socket)
          1 -> :gen_tcp.send(socket, <<0xFF>>)
          2 -> Process.exit(reader, :kill)
          3 -> :gen_tcp.send(socket, frame("close"))
        end

        assert_down(reader)
        :gen_tcp.close(socket)
      end

      assert eventually(fn -> census(router) == before end)
    end
  end

  # What hangs on a router: its links, and theirs.
  defp census(router) do
    {:links, links} = Process.info(router, :links)

    for pid <- links, is_pid(pid), {:links, more} <- [Process.info(pid, :links)], reduce: 0 do
      count -> count + 1 + length(more)
    end
  end
end
