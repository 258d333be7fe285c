defmodule ErlangPython.ZMTP.Router.EndsTest do
  # Peers and routers that end in whatever way, and what that leaves: nothing.
  # Not async: log lines are counted, and others' would be among them.
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog
  import ErlangPython.ZMTPHandler, only: [start_router: 0, start_router: 1]
  import ErlangPython.ZMTPRawPeer
  import ErlangPython.PoolCase, only: [eventually: 1]

  alias ErlangPython.ZMTP.{Frame, Router}
  alias ErlangPython.ZMTPHandler

  @moduletag :capture_log

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

  test "an acceptor that is killed, as by the purge of old code, costs nobody anything" do
    router = start_router()
    {_socket, writer, reader} = join!(router, "me")
    acceptor = :sys.get_state(router).acceptor
    ref = Process.monitor(acceptor)
    Process.exit(acceptor, :kill)
    assert_receive {:DOWN, ^ref, :process, ^acceptor, :killed}
    {_socket, _writer, _reader} = join!(router, "another")
    assert Process.alive?(writer) and Process.alive?(reader)
  end

  for {name, act, reason} <- @deaths, where <- [:idle, :in_a_long_frame] do
    test "#{name} (#{where}): reader, writer and socket go together" do
      router = start_unlinked_router()
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

  defp start_unlinked_router do
    {:ok, router} = Router.start_link(handler: ZMTPHandler, handler_arg: %{test: self()})
    Process.unlink(router)
    router
  end

  describe "limits and leftovers" do
    test "connections over the limit are closed, and there is room again later" do
      router = start_router(max_connections: 1)
      {socket, _writer, reader} = join!(router, "me")
      log = capture_log(fn -> assert read_to_end(connect(router)) == "" end)
      assert log =~ "it has as many connections as it may"
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

      eventually(fn -> assert census(router) == before end)
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
