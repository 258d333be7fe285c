defmodule ErlangPython.ZMTP.Libzmq.MessagesTest do
  # libzmq is the judge: each test has a pyzmq DEALER in a process of its own. Here: that all
  # messages come, of each size and shape, to and from slow peers and fast ones.
  use ExUnit.Case, async: true

  import ErlangPython.ZMTPHandler, only: [start_router: 0, start_router: 1]
  import ErlangPython.ZMTPPeer

  alias ErlangPython.ZMTP.Frame

  @moduletag :capture_log

  # Around the short form's end, the active buffer, the passive threshold, and large.
  @sizes [0, 1, 2, 254, 255, 256, 257, 4_095, 65_526, 65_535, 65_536, 65_537] ++
           [131_071, 131_072, 131_073, 1_048_576, 20_971_520]

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

  defp expect_messages(_id, []), do: :ok

  defp expect_messages(id, messages) do
    assert_receive {:messages, ^id, some}, 60_000
    {expected, rest} = Enum.split(messages, length(some))
    assert some == expected
    expect_messages(id, rest)
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
end
