defmodule ErlangPython.ZMTP.Router.HandlerTest do
  # What a router tells its handler, and what becomes of a handler that fails.
  # Not async: log lines are counted, and others' would be among them.
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog
  import ErlangPython.ZMTPHandler, only: [start_router: 0, start_router: 1]
  import ErlangPython.ZMTPRawPeer

  alias ErlangPython.ZMTP.Greeting

  @moduletag :capture_log

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
end
