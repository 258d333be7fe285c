defmodule ErlangPython.ZMTP.Router.TrafficTest do
  # Messages both ways, in whatever pieces they come, and those that break the rules.
  # Not async: log lines are counted, and others' would be among them.
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog
  import ErlangPython.ZMTPHandler, only: [start_router: 0, start_router: 1]
  import ErlangPython.ZMTPRawPeer

  alias ErlangPython.ZMTP.{Frame, Greeting, ProtocolError, Router}

  @moduletag :capture_log

  @transports [:ipc, :tcp]

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
end
