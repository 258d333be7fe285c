# Where do the microseconds of a small call go?
#
#     MIX_ENV=prod mix run bench/profile.exs [rounds]
#
# First real calls, with the moments at which each part hands over to the next: both sides read the same
# clock of the kernel (CLOCK_MONOTONIC). The ways between the parts are system calls and the
# waking of the process that waits; an echo through them without pool and codec shows them
# alone. Then each step that computes by itself, in a tight loop: with warm caches, which a
# process that has just been woken does not have.

for file <- ~w(stats clock rounds baseline machine pool zmtp_echo) do
  Code.require_file("support/#{file}.exs", __DIR__)
end

defmodule Bench.Profile do
  alias Bench.{Clock, Machine, Pool, Rounds, Stats, ZmtpEcho}
  alias ErlangPython.{MessagePack, Protocol}
  alias ErlangPython.Pool.{Callers, Directory, Handle, Intake, Pending, Slots, Window}
  alias ErlangPython.Pool.Pending.Row
  alias ErlangPython.Request.{Message, Options, Reply}
  alias ErlangPython.ZMTP.{Decoder, Frame}

  require Protocol

  @calls 1_000
  @loops 2_000
  @message {:call, "math", "sqrt", [16]}
  @options [pool: :profile]
  # A message of the size of the call's.
  @payload :binary.copy("x", 24)

  # Notes when the worker's main thread has a request, and when it sends the answer.
  @note_moments """
  import gc
  from time import perf_counter_ns
  from erlang_python_worker._worker import Worker

  gc.unfreeze()  # the worker has hidden from the collector what it was made of
  worker = next(o for o in gc.get_objects() if type(o) is Worker)
  channel, moments = worker._server._channel, []
  plain = channel.receive_head, channel.send_head


  def receive_head():
      head = plain[0]()
      moments.append(perf_counter_ns())
      return head


  def send_head(message):
      moments.append(perf_counter_ns())
      plain[1](message)


  channel.receive_head, channel.send_head = receive_head, send_head
  """

  @give_moments """
  channel.receive_head, channel.send_head = plain
  moments
  """

  # Nanoseconds of each step of the worker's main thread, with the worker's own objects.
  @worker_steps """
  import gc
  from time import perf_counter_ns
  from erlang_python_worker._requests import Requests
  from erlang_python_worker._worker import Worker

  gc.unfreeze()  # the worker has hidden from the collector what it was made of
  worker = next(o for o in gc.get_objects() if type(o) is Worker)
  requests = Requests(bytearray(16))
  runner, output = worker._runner, worker._output
  encoder = runner._encoders[0]
  run = worker._executor.by_type[message_type]
  decoded = runner.decode(body)
  value = run(decoded)


  def mean(step):
      start = perf_counter_ns()
      for _ in range(loops):
          step()
      return (perf_counter_ns() - start) / loops


  def note():
      requests.begin(b"\\0" * 8)
      requests.end()


  {
      "note": mean(note),
      "decode": mean(lambda: runner.decode(body)),
      "run": mean(lambda: run(decoded)),
      "encode": mean(lambda: encoder.encode(value)),
      "flush": mean(output.flush_descriptor),
  }
  """

  def run(rounds) do
    IO.puts("#{Machine.line()}; #{rounds} rounds\n")
    router = ZmtpEcho.start()

    Pool.with_pool(:profile, [workers: 1], fn ->
      rounds |> measure(router) |> print()
    end)

    ZmtpEcho.stop(router)
  end

  defp measure(rounds, router) do
    {:ok, handle} = Handle.fetch(:profile)
    hop = spawn_link(&answer/0)

    Rounds.run(rounds,
      call: fn -> median(fn -> Pool.call!(:profile, :math, :sqrt, [16]) end) end,
      chain: fn -> chain(handle) end,
      caller: fn -> caller_steps(handle) end,
      reader: fn -> reader_steps(handle) end,
      worker: fn -> worker_steps() end,
      echo: fn -> median(fn -> ZmtpEcho.echo(router, @payload) end) end,
      hop: fn -> median(fn -> ask(hop) end) end
    )
  end

  # --- in the way of a real call

  defp median(run), do: Stats.median(for _ <- 1..@calls, do: Clock.time(run))

  # :os.perf_counter is the clock of Python's time.perf_counter_ns.
  defp chain(handle) do
    ErlangPython.exec!(@note_moments, %{}, @options)
    options = Options.new!(@options, [:pool])
    ours = for _ <- 1..@calls, do: moments(handle, options)

    # The first is the answer to `exec`, the last two are its own request's.
    [_sent | theirs] = ErlangPython.run!(@give_moments, %{}, @options)
    theirs = theirs |> Enum.chunk_every(2) |> Enum.take(@calls)

    ours
    |> Enum.zip_with(theirs, &spans/2)
    |> Enum.zip_with(&Stats.median/1)
  end

  # As `ErlangPython.Request` does it.
  defp moments(handle, options) do
    start = moment()
    id = Slots.next_id(handle)
    {:ok, wire} = Message.encode(@message, id, options, 1_000_000)
    ref = :erlang.alias([:reply])

    request = %{
      id: id,
      wire: wire,
      dest: ref,
      tag: ref,
      caller: self(),
      watch: :waiting,
      deadline: nil
    }

    {:ok, _place} = Intake.submit(handle, request, nil)
    submitted = moment()
    reply = receive do: ({^ref, reply} -> reply)
    received = moment()
    {:ok, 4.0} = Reply.read(reply, :elixir)
    {start, submitted, received, moment()}
  end

  defp moment, do: :os.perf_counter(:nanosecond)

  defp spans({start, submitted, received, done}, [taken, answered]) do
    [
      done - start,
      submitted - start,
      taken - submitted,
      answered - taken,
      received - answered,
      done - received
    ]
  end

  # --- steps by themselves

  defp caller_steps(handle) do
    options = Options.new!(@options, [:pool])
    reply = reply()

    %{
      "options" => mean(fn -> Options.new!(@options, [:pool]) end),
      "encode" => mean(fn -> Message.encode(@message, 1, options, 1_000_000) end),
      "claim" => mean(fn -> claim(handle) end),
      "row" => mean(fn -> row(handle) end),
      "alias" => mean(fn -> :erlang.unalias(:erlang.alias([:reply])) end),
      "decode" => mean(fn -> Reply.read(reply, :elixir) end)
    }
  end

  defp reader_steps(handle) do
    frame = IO.iodata_to_binary(Frame.encode_message(reply()))
    decoder = Decoder.new(1_000_000, 8)
    window = Window.new(:auto)

    %{
      "frame" => mean(fn -> Decoder.feed(decoder, frame) end),
      "window" => mean(fn -> observe(handle, window) end)
    }
  end

  defp claim(handle) do
    Callers.watch(handle, self())
    {:ok, slot} = Slots.claim(handle)
    Directory.worker(handle, slot)
    Slots.release(handle, slot)
  end

  # Its insertion by the caller and its removal by the reader; ids of its own.
  defp row(handle) do
    id = -Slots.next_id(handle)
    now = System.monotonic_time(:microsecond)
    request = %{id: id, dest: nil, tag: nil, caller: self(), wire: @payload, deadline: nil}
    Pending.insert(handle, Row.new(request, 1, 0, now))
    Pending.take(handle, id)
  end

  defp observe(handle, window) do
    now = System.monotonic_time(:microsecond)
    window = Window.observe(window, 1, now - 50, now)
    Slots.put_last_end(handle, 1, now)
    Window.size(window)
  end

  defp reply, do: [Protocol.head(Protocol.type(:result), 1) <> packed(4.0)]

  defp packed(term) do
    {:ok, body, []} = MessagePack.encode(term)
    IO.iodata_to_binary(body)
  end

  defp worker_steps do
    bindings = %{
      "body" => ErlangPython.bytes(packed(["math", "sqrt", [16], nil, 0])),
      "message_type" => Protocol.type(:call),
      "loops" => @loops
    }

    ErlangPython.run!(@worker_steps, bindings, @options)
  end

  defp mean(run), do: Clock.mean(@loops, run)

  defp ask(pid) do
    send(pid, self())
    receive do: (:answer -> :ok)
  end

  defp answer do
    receive do: (pid -> send(pid, :answer))
    answer()
  end

  # --- what it says

  @spans [
    "all of it",
    "caller: encode, claim a worker, hand over",
    "way there: writer, socket, Python wakes",
    "worker: decode, run, encode",
    "way back: socket, reader, caller wakes",
    "caller: decode"
  ]

  defp print(rounds) do
    chain = Enum.zip_with(rounds.chain, &Stats.median/1)
    line("a call", Stats.median(rounds.call))
    line("an echo through the same way, without pool and codec", Stats.median(rounds.echo))
    line("a message to another process of the BEAM and back", Stats.median(rounds.hop))
    IO.puts("\nreal calls, from moment to moment (medians)")
    for {name, ns} <- Enum.zip(@spans, chain), do: line("  " <> name, ns)
    IO.puts("\nsteps in a loop (fastest rounds)")

    for side <- [:caller, :reader, :worker], steps = fastest(rounds[side]) do
      line("  #{side}", steps |> Map.values() |> Enum.sum())
      for {name, ns} <- steps, do: line("    #{label(name)}", ns)
    end
  end

  # A loop that was not interrupted.
  defp fastest(rounds) do
    Map.new(hd(rounds), fn {name, _ns} -> {name, rounds |> Enum.map(& &1[name]) |> Enum.min()} end)
  end

  @labels %{
    "options" => "check the options",
    "claim" => "claim a worker and find its writer",
    "row" => "pending row, in and out (ETS)",
    "alias" => "reply alias",
    "frame" => "parse the ZMTP frame",
    "window" => "adapt the window",
    "note" => "note what runs, and its end",
    "run" => "look the function up and call it",
    "flush" => "flush stdout"
  }

  defp label(name), do: Map.get(@labels, name, name)

  defp line(what, nanoseconds) do
    microseconds = :erlang.float_to_binary(nanoseconds / 1_000, decimals: 1)
    IO.puts(String.pad_trailing(what, 56) <> String.pad_leading(microseconds, 8) <> " µs")
  end
end

rounds =
  case System.argv() do
    [] -> 15
    [rounds] -> String.to_integer(rounds)
  end

Bench.Profile.run(rounds)
