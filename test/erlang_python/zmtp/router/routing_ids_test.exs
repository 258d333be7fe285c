defmodule ErlangPython.ZMTP.Router.RoutingIdsTest do
  # To whom a routing id belongs, and when it is free again.
  # Not async: log lines are counted, and others' would be among them.
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog
  import ErlangPython.ZMTPHandler, only: [start_router: 0, start_router: 1]
  import ErlangPython.ZMTPRawPeer

  alias ErlangPython.ZMTP.{Greeting, Router}

  @moduletag :capture_log

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
end
