defmodule ErlangPython.ZMTP.Libzmq.RefusalsTest do
  # libzmq is the judge: each test has a pyzmq DEALER in a process of its own. Here: peers
  # that are refused, and that understand it. Not async: it reads the log, whose level others change.
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog
  import ErlangPython.ZMTPHandler, only: [start_router: 0, start_router: 1]
  import ErlangPython.ZMTPPeer

  alias ErlangPython.ZMTP.Router

  @moduletag :capture_log

  describe "refusals" do
    # It sees our mechanism before it has named its own, and closes.
    test "a DEALER that wants PLAIN leaves, and the router goes on" do
      router = start_router()

      log =
        capture_log(fn ->
          peer =
            start_peer(router, """
            plain = dealer(b"plain", plain_username=b"u", plain_password=b"p",
                           reconnect_ivl=-1, connect=False)
            monitor = plain.get_monitor_socket()
            plain.connect(ENDPOINT)
            next_event(monitor, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
                       zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_DISCONNECTED)
            socket = dealer(b"null")
            socket.send(b"fine")
            wait()
            """)

          assert_receive {:messages, "null", [["fine"]]}, 30_000
          tell(peer, "end")
          expect_exit(peer)
        end)

      assert log =~ "left before"
    end

    test "a SUB is refused" do
      router = start_router()

      log =
        capture_log(fn ->
          peer =
            start_peer(router, """
            sub = CONTEXT.socket(zmq.SUB)
            monitor = sub.get_monitor_socket()
            sub.connect(ENDPOINT)
            next_event(monitor, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
                       zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_DISCONNECTED)
            say("refused")
            """)

          expect(peer, "refused")
          expect_exit(peer)
        end)

      assert log =~ "SUB"
    end

    # rfc.zeromq.org/spec/37, "Error Handling": ERROR is fatal, a client must not come again.
    test "a DEALER whom the handler rejects does not come again" do
      router = start_router(arg: %{init: fn _peer, _writer, _arg -> {:reject, "no"} end})

      peer =
        start_peer(router, """
        socket = dealer(b"me", reconnect_ivl=10, connect=False)
        monitor = socket.get_monitor_socket()
        socket.connect(ENDPOINT)
        next_event(monitor, zmq.EVENT_DISCONNECTED)
        say(monitor.poll(500))
        """)

      expect(peer, "0")
      expect_exit(peer)
    end

    # What the directory's mode prevents is opened here, so that SO_PEERCRED has to.
    @tag skip: System.cmd("id", ["-u"]) != {"0\n", 0} or :os.type() != {:unix, :linux}
    test "another user's process is refused" do
      router = start_router()
      "ipc://" <> path = Router.endpoint(router)
      File.chmod!(Path.dirname(path), 0o711)
      File.chmod!(path, 0o777)

      log =
        capture_log(fn ->
          peer =
            start_peer(router, """
            import os
            os.setuid(65534)
            socket = dealer(b"me", reconnect_ivl=-1, connect=False)
            monitor = socket.get_monitor_socket()
            socket.connect(ENDPOINT)
            next_event(monitor, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_DISCONNECTED)
            say("refused")
            """)

          expect(peer, "refused")
          expect_exit(peer)
        end)

      assert log =~ "uid 65534"
      refute_received {:peer, _, _, _}
    end

    test "a message over the limit ends the connection of its sender only" do
      router = start_router(max_message_size: 100_000)

      peer =
        start_peer(router, """
        good, bad = dealer(b"good"), dealer(b"bad", reconnect_ivl=-1)
        good.send(b"x" * 100_000)
        bad.send(b"x" * 100_001)
        wait()
        good.send(b"still here")
        wait()
        """)

      body = :binary.copy("x", 100_000)
      assert_receive {:messages, "good", [[^body]]}, 30_000
      assert_receive {:closed, "bad", error}, 30_000
      assert Exception.message(error) =~ "100001 bytes"
      tell(peer, "go")
      assert_receive {:messages, "good", [["still here"]]}, 30_000
      tell(peer, "end")
      expect_exit(peer)
    end
  end
end
