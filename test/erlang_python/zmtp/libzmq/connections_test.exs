defmodule ErlangPython.ZMTP.Libzmq.ConnectionsTest do
  # libzmq is the judge: each test has a pyzmq DEALER in a process of its own. Here: who it
  # is that joins, what keeps a connection up, and what ends it.
  use ExUnit.Case, async: true

  import ErlangPython.ZMTPHandler, only: [start_router: 0, start_router: 1]
  import ErlangPython.ZMTPPeer

  alias ErlangPython.ZMTP.{Frame, Router}

  @moduletag :capture_log

  test "libzmq's own facts reach the handler" do
    router = start_router()

    peer =
      start_peer(router, ~S"""
      socket = dealer(b"me", connect=False)
      socket.setsockopt(zmq.METADATA, b"X-Who:tester")
      socket.setsockopt(zmq.METADATA, b"X-More:1")
      socket.connect(ENDPOINT)
      wait()
      """)

    assert_receive {:peer, facts, _writer, _reader}, 30_000
    assert facts.routing_id == "me"

    assert %{"socket-type" => "DEALER", "identity" => "me", "x-who" => "tester", "x-more" => "1"} =
             facts.properties

    if :os.type() == {:unix, :linux}, do: assert(facts.os_pid == os_pid(peer))
    tell(peer, "end")
    expect_exit(peer)
  end

  test "identities of 1 and 255 bytes, and none" do
    router = start_router()

    peer =
      start_peer(router, """
      sockets = [dealer(b"i"), dealer(b"i" * 255), dealer()]
      for socket in sockets:
          socket.send(b"x")
      wait()
      """)

    one = "i"
    longest = String.duplicate("i", 255)
    assert_receive {:messages, ^one, [["x"]]}, 30_000
    assert_receive {:messages, ^longest, [["x"]]}, 30_000
    assert_receive {:messages, <<0, _::32>>, [["x"]]}, 30_000
    tell(peer, "end")
    expect_exit(peer)
  end

  describe "heartbeats" do
    # Without a PONG libzmq drops the connection after the timeout. The wait is its to
    # make: no event says that nothing happened.
    test "keep a silent connection up" do
      router = start_router()

      peer =
        start_peer(router, """
        socket = dealer(b"me", heartbeat_ivl=100, heartbeat_timeout=600, connect=False)
        monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        socket.connect(ENDPOINT)
        assert monitor.poll(1_500) == 0, "disconnected"
        socket.send(b"still here")
        wait()
        """)

      assert_receive {:messages, "me", [["still here"]]}, 30_000
      assert_received {:peer, _, _, _}
      refute_received {:peer, _, _, _}
      tell(peer, "end")
      expect_exit(peer)
    end

    test "are answered while a large message is on its way to the peer" do
      router = start_router()

      peer =
        start_peer(router, """
        socket = dealer(b"me", heartbeat_ivl=20, heartbeat_timeout=5_000, heartbeat_ttl=10_000)
        for _ in range(20):
            assert len(socket.recv()) == 10_000_000
        say("done")
        """)

      assert_receive {:peer, _peer, writer, _reader}, 30_000
      body = :binary.copy("x", 10_000_000)
      for _ <- 1..20, do: send(writer, {:tx, Frame.encode_message([body])})
      expect(peer, "done")
      expect_exit(peer)
      refute_received {:peer, _, _, _}
    end
  end

  describe "a used routing id" do
    test "is refused to a second DEALER, which comes in once the first is gone" do
      router = start_router()

      peer =
        start_peer(router, """
        first = dealer(b"me")
        first.send(b"first")
        wait()
        second = dealer(b"me", reconnect_ivl=20, connect=False)
        monitor = second.get_monitor_socket()
        second.connect(ENDPOINT)
        next_event(monitor, zmq.EVENT_DISCONNECTED, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
        say("refused")
        first.close()
        next_event(monitor, zmq.EVENT_HANDSHAKE_SUCCEEDED)
        second.send(b"second")
        wait()
        """)

      assert_receive {:messages, "me", [["first"]]}, 30_000
      tell(peer, "go")
      expect(peer, "refused")
      assert_receive {:closed, "me", :closed}, 30_000
      assert_receive {:messages, "me", [["second"]]}, 30_000
      tell(peer, "end")
      expect_exit(peer)
    end

    test "goes to the second DEALER under handover" do
      router = start_router(handover: true)

      peer =
        start_peer(router, """
        first = dealer(b"me", reconnect_ivl=-1)
        first.send(b"first")
        wait()
        second = dealer(b"me")
        second.send(b"second")
        assert second.recv() == b"answer"
        wait()
        """)

      assert_receive {:messages, "me", [["first"]]}, 30_000
      tell(peer, "go")
      assert_receive {:messages, "me", [["second"]]}, 30_000
      assert_received {:closed, "me", {:exit, {:shutdown, :handover}}}
      {:ok, writer} = Router.writer(router, "me")
      send(writer, {:tx, Frame.encode_message(["answer"])})
      tell(peer, "end")
      expect_exit(peer)
    end
  end

  describe "reconnect" do
    test "a DEALER that we disconnect comes back, and what it sent meanwhile comes" do
      router = start_router()

      peer =
        start_peer(router, """
        socket = dealer(b"me", reconnect_ivl=20)
        socket.send(b"close")
        wait()
        socket.send(b"again")
        wait()
        """)

      assert_receive {:closed, "me", {:handler, :asked}}, 30_000
      tell(peer, "go")
      assert_receive {:messages, "me", [["again"]]}, 30_000
      tell(peer, "end")
      expect_exit(peer)
    end

    test "with reconnect_ivl -1 it stays away" do
      router = start_router()

      peer =
        start_peer(router, """
        socket = dealer(b"me", reconnect_ivl=-1, connect=False)
        monitor = socket.get_monitor_socket(zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED)
        socket.connect(ENDPOINT)
        next_event(monitor, zmq.EVENT_CONNECTED)
        socket.send(b"close")
        next_event(monitor, zmq.EVENT_DISCONNECTED)
        say(monitor.poll(500))
        """)

      expect(peer, "0")
      expect_exit(peer)
    end
  end

  test "a killed peer is noticed, also in the middle of a large message" do
    router = start_router()

    peer =
      start_peer(router, """
      socket = dealer(b"me")
      socket.send(b"ready")
      for _ in range(1_000):
          socket.send(b"x" * 50_000_000, copy=False)
      """)

    assert_receive {:messages, "me", [["ready"]]}, 30_000
    {_, 0} = System.cmd("kill", ["-9", "#{os_pid(peer)}"])
    assert_receive {:closed, "me", :closed}, 30_000
  end
end
