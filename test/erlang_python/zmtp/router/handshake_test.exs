defmodule ErlangPython.ZMTP.Router.HandshakeTest do
  # Peers that join, those that never do, and those that are refused.
  # Not async: log lines are counted, and others' would be among them.
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog
  import ErlangPython.ZMTPHandler, only: [start_router: 0, start_router: 1]
  import ErlangPython.ZMTPRawPeer

  alias ErlangPython.ZMTP.{Command, Greeting, Router}

  @moduletag :capture_log

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
end
