defmodule ErlangPython.ZMTP.LibzmqTest do
  # libzmq is the judge: each test has a pyzmq DEALER in a process of its own.
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog
  import ErlangPython.ZMTPPeer

  alias ErlangPython.ZMTP.{Frame, Router}
  alias ErlangPython.ZMTPHandler

  @moduletag :capture_log
  # Around the short form's end, the active buffer, the passive threshold, and large.
  @sizes [0, 1, 2, 254, 255, 256, 257, 4_095, 65_526, 65_535, 65_536, 65_537] ++
           [131_071, 131_072, 131_073, 1_048_576, 20_971_520]

  defp start_router(options \\ []) do
    {arg, options} = Keyword.pop(options, :arg, %{})

    start_supervised!(
      {Router, [handler: ZMTPHandler, handler_arg: Map.put(arg, :test, self())] ++ options}
    )
  end

  defp start_peer(router, script), do: router |> Router.endpoint() |> start(script)

  defp expect_messages(_id, []), do: :ok

  defp expect_messages(id, messages) do
    assert_receive {:messages, ^id, some}, 60_000
    {expected, rest} = Enum.split(messages, length(some))
    assert some == expected
    expect_messages(id, rest)
  end

  for transport <- [:ipc, :tcp] do
    describe "over #{transport}" do
      setup do
        %{router: start_router(transport: unquote(transport), arg: %{echo: true})}
      end

      test "all sizes come back, one by one and all at once", %{router: router} do
        peer =
          start_peer(router, """
          import os
          sizes = #{inspect(@sizes)}
          socket = dealer(b"me")
          for size in sizes:
              body = os.urandom(size)
              socket.send(body)
              assert socket.recv_multipart() == [body], size
          bodies = [os.urandom(size) for size in sizes]
          for body in bodies:
              socket.send(body)
          for body in bodies:
              assert socket.recv_multipart() == [body], len(body)
          say("done")
          """)

        expect(peer, "done")
        expect_exit(peer)
      end

      test "multipart messages come back", %{router: router} do
        peer =
          start_peer(router, """
          import os
          socket = dealer()
          shapes = [[0], [5], [0, 0], [3, 0, 70000], [0, 0, 0], [255, 256, 257], [1] * 100,
                    [0] * 100, list(range(100)), [200000, 3, 200000, 0, 1 << 20]]
          messages = [[os.urandom(size) for size in shape] for shape in shapes]
          for message in messages:
              socket.send_multipart(message)
          for message in messages:
              assert socket.recv_multipart() == message
          say("done")
          """)

        expect(peer, "done")
        expect_exit(peer)
      end

      test "10,000 small messages keep their order", %{router: router} do
        peer =
          start_peer(router, """
          socket = dealer()
          for n in range(10_000):
              socket.send(b"%d" % n)
          for n in range(10_000):
              assert socket.recv() == b"%d" % n
          say("done")
          """)

        expect(peer, "done")
        expect_exit(peer)
      end

      # A process that both sends and receives would wait for ever here.
      test "20 MiB both ways at once do not deadlock", %{router: router} do
        body = :binary.copy("x", 20_971_520)

        peer =
          start_peer(router, """
          socket = dealer(b"me")
          body = b"y" * 20_971_520
          for _ in range(4):
              socket.send(body)
          seen = [socket.recv() for _ in range(8)]
          assert sum(message == body for message in seen) == 4
          assert sum(message == b"x" * 20_971_520 for message in seen) == 4
          say("done")
          """)

        assert_receive {:peer, _peer, writer, _reader}, 30_000
        for _ <- 1..4, do: send(writer, {:tx, Frame.encode_message([body])})
        expect(peer, "done")
        expect_exit(peer)
      end
    end
  end

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

  test "a REQ and a ROUTER can talk to us too" do
    router = start_router(arg: %{echo: true})

    peer =
      start_peer(router, """
      req = CONTEXT.socket(zmq.REQ)
      req.connect(ENDPOINT)
      req.send(b"question")
      assert req.recv() == b"question"
      router = CONTEXT.socket(zmq.ROUTER)
      router.probe_router = 1
      router.connect_routing_id = b"us"
      router.connect(ENDPOINT)
      router.send_multipart([b"us", b"question"])
      assert [router.recv_multipart() for _ in range(2)] == [[b"us", b""], [b"us", b"question"]]
      say("done")
      """)

    expect(peer, "done")
    expect_exit(peer)
  end

  describe "linger" do
    test "what a peer sent before it closed all comes, then its close" do
      router = start_router()

      peer =
        start_peer(router, """
        socket = dealer(b"me", linger=-1)
        for n in range(1_000):
            socket.send(b"%d" % n)
        socket.send(b"z" * 5_000_000)
        socket.close()
        CONTEXT.term()
        """)

      last = :binary.copy("z", 5_000_000)
      expect_messages("me", Enum.map(0..999, &["#{&1}"]) ++ [[last]])
      assert_receive {:closed, "me", :closed}, 30_000
      expect_exit(peer)
    end
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

  describe "high-water mark" do
    test "of a slow reader delays us and loses nothing" do
      router = start_router()

      peer =
        start_peer(router, """
        socket = dealer(b"me", rcvhwm=1, rcvbuf=4096)
        wait()
        for n in range(20_000):
            assert socket.recv() == b"%06d" % n + b"x" * 94
        say("done")
        """)

      assert_receive {:peer, _peer, writer, _reader}, 30_000

      for n <- 0..19_999 do
        text = String.pad_leading("#{n}", 6, "0")
        send(writer, {:tx, Frame.encode_message([text <> :binary.copy("x", 94)])})
      end

      tell(peer, "go")
      expect(peer, "done")
      expect_exit(peer)
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
