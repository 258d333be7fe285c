# How long does a 64 byte echo take through our ROUTER, against libzmq's own?
#
#     mix run bench/zmtp_echo.exs [rounds] [echoes per round]
#
# Both rows have the same peer, a pyzmq DEALER in a process of its own, over ipc. Rows take turns
# in shuffled rounds; what counts is the ratio of the medians of the rounds' p50.

defmodule Bench.Handler do
  @behaviour ErlangPython.ZMTP.Handler

  @impl true
  def init(_peer, writer, caller) do
    send(caller, {:writer, writer})
    {:ok, caller}
  end

  @impl true
  def handle_messages(messages, caller) do
    for message <- messages, do: send(caller, {:message, message})
    {:ok, caller}
  end

  @impl true
  def handle_close(_reason, _caller), do: :ok

  @impl true
  def handle_info(_message, caller), do: {:ok, caller}
end

defmodule Bench do
  alias ErlangPython.ZMTP.{Frame, Router}

  @python Path.expand("../.cache/venv/bin/python", __DIR__)

  @dealer """
  import os, sys, threading, zmq
  threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
  socket = zmq.Context().socket(zmq.DEALER)
  socket.setsockopt(zmq.ROUTING_ID, b"peer")
  socket.linger = 0
  socket.connect(sys.argv[1])
  socket.send(b"up")
  while True:
      socket.send(socket.recv())
  """

  @router """
  import os, subprocess, sys, tempfile, time, zmq
  directory = tempfile.TemporaryDirectory(dir="/tmp")
  endpoint = f"ipc://{directory.name}/s"
  socket = zmq.Context().socket(zmq.ROUTER)
  socket.linger = 0
  socket.bind(endpoint)
  dealer = subprocess.Popen([sys.executable, "-c", sys.argv[1], endpoint], stdin=subprocess.PIPE)
  socket.recv_multipart()
  print("up", flush=True)
  message = [b"peer", b"x" * 64]
  for line in sys.stdin:
      times = []
      for _ in range(int(line)):
          start = time.perf_counter_ns()
          socket.send_multipart(message)
          socket.recv_multipart()
          times.append(time.perf_counter_ns() - start)
      print(*sorted(times), flush=True)
  dealer.kill()
  """

  def run(rounds, echoes) do
    {:ok, router} = Router.start_link(handler: Bench.Handler, handler_arg: self())
    dealer = python(@dealer, Router.endpoint(router))
    writer = receive do: ({:writer, writer} -> writer)
    receive do: ({:message, ["up"]} -> :ok)

    reference = python(@router, @dealer)
    "up" = line(reference)

    rows = [elixir: fn n -> elixir(writer, n) end, libzmq: fn n -> libzmq(reference, n) end]
    for {_name, row} <- rows, do: row.(echoes)

    results =
      for _round <- 1..rounds, {name, row} <- Enum.shuffle(rows) do
        times = row.(echoes)
        {name, percentile(times, 50), percentile(times, 99)}
      end

    print(results)
    Port.close(reference)
    Port.close(dealer)
    GenServer.stop(router)
  end

  defp elixir(writer, n), do: Enum.sort(for _ <- 1..n, do: echo(writer, :binary.copy("x", 64)))

  defp echo(writer, payload) do
    start = System.monotonic_time(:nanosecond)
    send(writer, {:tx, Frame.encode_message([payload])})
    receive do: ({:message, [_payload]} -> System.monotonic_time(:nanosecond) - start)
  end

  defp libzmq(port, n) do
    Port.command(port, "#{n}\n")
    port |> line() |> String.split() |> Enum.map(&String.to_integer/1)
  end

  defp python(script, argument) do
    Port.open({:spawn_executable, @python}, [
      :binary,
      line: 1_000_000,
      args: ["-c", script, argument]
    ])
  end

  defp line(port), do: receive(do: ({^port, {:data, {:eol, line}}} -> line))

  defp percentile(sorted, percent),
    do: Enum.at(sorted, div(length(sorted) * percent, 100)) / 1_000

  defp median(list), do: list |> Enum.sort() |> Enum.at(div(length(list), 2))

  defp print(results) do
    summary =
      for name <- [:elixir, :libzmq], into: %{} do
        mine = for {^name, p50, p99} <- results, do: {p50, p99}
        p50s = Enum.map(mine, &elem(&1, 0))
        {name, {median(p50s), Enum.min(p50s), median(Enum.map(mine, &elem(&1, 1)))}}
      end

    for {name, {p50, best, p99}} <- summary do
      [p50, best, p99] = Enum.map([p50, best, p99], &Float.round(&1, 1))
      IO.puts("#{name}: p50 #{p50} us (best round #{best}), p99 #{p99} us")
    end

    {mine, _, _} = summary.elixir
    {reference, _, _} = summary.libzmq
    IO.puts("ratio of p50: #{Float.round(mine / reference, 2)} (to reach: at most 0.65)")
    IO.puts("OTP #{System.otp_release()}, Elixir #{System.version()}")
  end
end

{rounds, echoes} =
  case Enum.map(System.argv(), &String.to_integer/1) do
    [] -> {15, 2_000}
    [rounds, echoes] -> {rounds, echoes}
  end

Bench.run(rounds, echoes)
