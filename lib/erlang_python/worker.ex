defmodule ErlangPython.Worker do
  @moduledoc false
  # One Python process: its port, its two connections and its health, from start to end.
  #
  #     launching ── HELLO, both channels attached ──▶ setup ── READY ──▶ ready ──▶ draining ──▶ stopping
  #
  # Any end of the OS process, of a connection or of patience ends this process, with a reason that
  # says how; the pool's manager then settles the requests that were left (`Pool.Manager`). It ends only when
  # the OS process and both readers have, so that results which had arrived are
  # delivered and never counted as lost.

  use GenServer, restart: :temporary

  alias ErlangPython.Callbacks.Incoming
  alias ErlangPython.{Env, Error, MessagePack, Protocol}
  alias ErlangPython.Pool.{Directory, Handle, Pending, Queue, Replay, Slots, Streams}
  alias ErlangPython.Request.Reply
  alias ErlangPython.Worker.{Exit, LogRecord, OSProcess, Output, Pings, Printer, Running}
  alias ErlangPython.ZMTP.Frame

  require Protocol

  # How long the sockets may stay open when the process has ended: a child that Python forked can hold them.
  @closing_ms 100
  # How long the process may stay when a socket has closed: on a busy machine its exit status comes late.
  @exiting_ms 1_000
  # How long the exit status may lag behind SIGKILL: for ever, if the kernel has the process in its hands.
  @killed_ms 2_000
  @drain_poll_ms 5
  # How long a worker that drains waits for streams that nobody has read to their end.
  @streams_ms 30_000
  # Bytes of output that may wait to be logged.
  @printing_limit 1_000_000
  # And packets of it, of up to 64 KiB, that may wait to be looked at.
  @packets_limit 32
  @memory_poll_ms 1_000

  @exit_no_runtime 78

  @type start :: {Handle.t(), Slots.slot(), generation :: pos_integer()}
  @type channel ::
          :main | :control | {:thread, String.t()} | {:loop, String.t()} | :unknown

  @typedoc "The reasons with which a worker's process ends, other than by a crash of its own."
  @type reason ::
          {:shutdown, {:start_failed, Error.t()}}
          | {:shutdown, {:exited, Exit.t(), Running.t()}}
          | {:shutdown, :drained}

  @spec start_link(start()) :: GenServer.on_start()
  def start_link(start), do: GenServer.start_link(__MODULE__, start)

  @doc "Called by the reader of a new connection that proved this worker's token."
  @spec attach(pid(), channel(), writer :: pid(), os_pid :: pos_integer() | nil) ::
          {:ok, Slots.slot(), pos_integer()} | {:error, String.t()}
  def attach(worker, channel, writer, os_pid) do
    GenServer.call(worker, {:attach, channel, writer, os_pid})
  catch
    :exit, _reason -> {:error, "its worker has ended"}
  end

  @doc "Lets the worker end what it has, then ends it. It must get no new requests: its window is 0."
  @spec drain(pid()) :: :ok
  def drain(worker), do: GenServer.cast(worker, :drain)

  @doc "What the worker says of itself (`PONG`), nil if it can't answer in time."
  @spec ping(pid(), timeout()) :: %{String.t() => term()} | nil
  def ping(worker, timeout), do: ask(worker, :ping, timeout)

  @doc "The stacks of its threads (the body of `STACKED`), nil if it can't answer in time."
  @spec stacks(pid(), timeout()) :: binary() | nil
  def stacks(worker, timeout), do: ask(worker, :stacks, timeout)

  @doc "Interrupts what its main thread runs; `:idle` if that is nothing, nil if the worker has ended."
  @spec interrupt(pid()) :: :ok | :idle | nil
  def interrupt(worker), do: ask(worker, :interrupt, :infinity)

  defp ask(worker, what, timeout) do
    GenServer.call(worker, what, timeout)
  catch
    :exit, _reason -> nil
  end

  @impl true
  def init({handle, slot, generation}) do
    Process.flag(:trap_exit, true)

    state = %{
      handle: handle,
      slot: slot,
      generation: generation,
      name: "#{handle.name}-#{slot}",
      phase: :launching,
      executable: nil,
      port: nil,
      os_pid: nil,
      token: nil,
      running: nil,
      writers: %{},
      readers: %{},
      hello: nil,
      replay: nil,
      output: Output.new(),
      printer: nil,
      printing: 0,
      # Records of Python's logging that were left out.
      unlogged: 0,
      provisioned?: false,
      start_timer: nil,
      cancels: %{},
      rebalancing: MapSet.new(),
      pings: Pings.new(),
      # Who asked for what a stream's pull has so far.
      flushes: %{},
      drain_until: nil,
      # How it ended, as far as it is known.
      status: nil,
      cause: nil,
      failed: nil
    }

    {:ok, state, {:continue, :launch}}
  end

  # --- start

  @impl true
  def handle_continue(:launch, %{handle: %{options: options}} = state) do
    # To build an environment takes as long as it takes: the time to start is counted after it.
    case Env.interpreter(options.python, options.venv) do
      {:ok, executable} -> launch(start_timer(%{state | executable: executable}))
      {:error, error} -> stop_failed(state, error)
    end
  end

  def handle_continue(:setup, %{phase: :launching, hello: %{}} = state) do
    if both?(state.writers) do
      replay = Directory.replay(state.handle)
      tell(state, :main, Protocol.type(:setup), 0, setup(state, replay))
      {:noreply, %{state | phase: :setup, replay: replay}}
    else
      {:noreply, state}
    end
  end

  def handle_continue(:setup, state), do: {:noreply, state}

  defp start_timer(%{handle: %{options: %{start_timeout: :infinity}}} = state), do: state

  defp start_timer(%{handle: %{options: %{start_timeout: ms}}} = state),
    do: %{state | start_timer: Process.send_after(self(), :start_timeout, ms)}

  defp launch(%{handle: handle} = state) do
    runtime = runtime(state)
    token = 16 |> :crypto.strong_rand_bytes() |> Base.encode16(case: :lower)
    Directory.put_token(handle, token, self())

    running = Running.create(Directory.folder(handle), token)
    state = %{state | token: token, running: running}

    case OSProcess.open(state.executable, variables(state, runtime), handle.options) do
      {:ok, port, os_pid} ->
        {:noreply, %{state | port: port, os_pid: os_pid, printer: printer(state, os_pid)}}

      {:error, error} ->
        stop_failed(state, error)
    end
  rescue
    # No folder for the runtime (Env.Cache.base/0).
    error in Error -> stop_failed(state, error)
  end

  defp variables(state, runtime) do
    %{
      "ERLANG_PYTHON_ENDPOINT" => Directory.endpoint(state.handle),
      "ERLANG_PYTHON_TOKEN" => state.token,
      "ERLANG_PYTHON_RUNNING" => state.running,
      "ERLANG_PYTHON_CHANNEL" => Atom.to_string(state.handle.options.channel),
      "ERLANG_PYTHON_RUNTIME" => runtime
    }
  end

  # What a release brings may be for another Python than this; then the cache has to do.
  defp runtime(%{provisioned?: false}), do: Env.Runtime.first_root()
  defp runtime(%{provisioned?: true}), do: Env.Runtime.root()

  defp setup(%{handle: %{options: options}} = state, replay) do
    %{
      "paths" => options.paths,
      "preload" => Enum.map(options.preload, fn {kind, text} -> [Atom.to_string(kind), text] end),
      "max_message_size" => options.max_message_size,
      "worker" => state.name,
      "replay" => Replay.encode(replay),
      "stdout" => Atom.to_string(options.stdout),
      "stdin" => Atom.to_string(options.stdin),
      "bars" => IO.ANSI.enabled?()
    }
  end

  defp provision(state) do
    forget_launch(state)
    # An installation takes as long as the network does.
    cancel_timer(state.start_timer)

    case Env.Runtime.provision(state.executable) do
      :ok -> launch(start_timer(%{state | output: Output.new(), provisioned?: true}))
      {:error, error} -> stop_failed(state, error)
    end
  end

  # --- connections

  @impl true
  def handle_call({:attach, channel, writer, os_pid}, {reader, _tag}, state) do
    case check_attach(state, channel, os_pid) do
      :ok ->
        state = put_in(state.readers[Process.monitor(reader)], {channel, reader})
        state = put_in(state.writers[channel], writer)
        {:reply, {:ok, state.slot, state.generation}, state, {:continue, :setup}}

      {:error, reason} ->
        {:reply, {:error, reason}, state}
    end
  end

  def handle_call(:ping, from, %{phase: phase} = state) when phase in [:ready, :draining],
    do: {:noreply, send_ping(state, from)}

  def handle_call(:stacks, from, %{phase: phase} = state) when phase in [:ready, :draining],
    do: {:noreply, send_question(state, Protocol.type(:stacks), from)}

  def handle_call(:interrupt, _from, %{phase: phase} = state) when phase in [:ready, :draining] do
    # Also of a callback's nested request, which the one that the file names waits for.
    with %{last: id} <- Running.read(state.running), true <- here?(state, id) do
      {:reply, :ok, cancel(state, id)}
    else
      _idle_or_unknown -> {:reply, :idle, state}
    end
  end

  def handle_call(what, _from, state) when what in [:ping, :stacks, :interrupt],
    do: {:reply, nil, state}

  defp check_attach(state, channel, os_pid) do
    cond do
      channel == :unknown -> {:error, "there is no such channel"}
      is_map_key(state.writers, channel) -> {:error, "this channel is taken"}
      os_pid not in [nil, state.os_pid] -> {:error, "OS process #{os_pid} is not the worker"}
      true -> :ok
    end
  end

  defp both?(writers), do: is_map_key(writers, :main) and is_map_key(writers, :control)

  defp tell(state, channel, type, id, body \\ :none) do
    {bytes, buffers} = pack(body)
    head = Protocol.mark_buffers([Protocol.head(type, id) | bytes], buffers)
    send(state.writers[channel], {:tx, Frame.encode_message([head | buffers])})
  end

  defp pack(:none), do: {[], []}

  defp pack(body) do
    {:ok, bytes, buffers} = MessagePack.encode(body)
    {bytes, buffers}
  end

  @impl true
  def handle_cast(:drain, %{phase: :ready} = state) do
    until = System.monotonic_time(:millisecond) + @streams_ms
    drained(%{state | phase: :draining, drain_until: until})
  end

  # It has not served yet.
  def handle_cast(:drain, %{phase: phase} = state) when phase in [:launching, :setup],
    do: {:stop, {:shutdown, :drained}, state}

  def handle_cast(:drain, state), do: {:noreply, state}

  @impl true
  def handle_info({:message, channel, [head | _buffers]}, state) do
    case Protocol.split_head(head) do
      {type, id, body} -> message({channel, type}, id, body, state)
      :error -> broke_protocol(state)
    end
  end

  def handle_info({port, {:data, bytes}}, %{port: port} = state),
    do: {:noreply, log(state, bytes)}

  # Printed by a request whose caller is gone, or that has ended.
  def handle_info({:unclaimed, text}, state), do: {:noreply, log(state, text)}

  def handle_info({:log, caller, body}, state) do
    case LogRecord.decode(body) do
      {:ok, record} -> {:noreply, log_record(state, record, caller, byte_size(body))}
      :error -> broke_protocol(state)
    end
  end

  def handle_info({:printed, size}, state),
    do: {:noreply, %{state | printing: state.printing - size}}

  def handle_info(
        {port, {:exit_status, @exit_no_runtime}},
        %{port: port, phase: :launching, provisioned?: false} = state
      ),
      do: provision(%{state | port: nil})

  def handle_info({port, {:exit_status, status}}, %{port: port} = state) do
    # What it had started, and left behind, goes with it; an orderly end has no need.
    unless status == 0 and state.phase == :stopping, do: OSProcess.signal(state.os_pid, :kill)
    over(%{state | port: nil, status: status})
  end

  def handle_info({port, _late}, state) when is_port(port), do: {:noreply, state}
  def handle_info({:EXIT, port, _reason}, state) when is_port(port), do: {:noreply, state}
  def handle_info({:EXIT, _parent, reason}, state), do: {:stop, reason, state}

  def handle_info({:DOWN, ref, :process, reader, _reason}, state) do
    {{channel, ^reader}, readers} = Map.pop!(state.readers, ref)
    state = %{state | readers: readers}

    if channel in [:main, :control],
      do: over(state),
      else: closed(%{state | writers: Map.delete(state.writers, channel)})
  end

  def handle_info({:beside, wire}, state) do
    with %{control: writer} <- state.writers, do: send(writer, {:tx, wire})
    {:noreply, state}
  end

  def handle_info({:cancel, id}, state), do: {:noreply, cancel(state, id)}

  def handle_info({:rebalance, id}, state), do: {:noreply, rebalance(state, id)}

  def handle_info({:flush, id, reply_to}, %{phase: phase} = state)
      when phase in [:ready, :draining] do
    tell(state, :control, Protocol.type(:flush), id)
    {:noreply, put_in(state.flushes[id], reply_to)}
  end

  # Its end is near, and ends the pull too.
  def handle_info({:flush, _id, _reply_to}, state), do: {:noreply, state}

  def handle_info({:close_due, id}, state), do: {:noreply, close_due(state, id)}

  def handle_info({:grace, id}, state) do
    {cancel, cancels} = Map.pop(state.cancels, id)
    state = %{state | cancels: cancels}

    cond do
      cancel == nil or not Pending.member?(state.handle, id) ->
        {:noreply, state}

      cancel.running? or not behind_another?(state, id) ->
        kill(state, "did not stop within #{state.handle.options.grace} ms of being told to")

      # Python can't say that it has not begun, because what it runs holds its lock.
      true ->
        {:noreply, await_stop(state, id)}
    end
  end

  def handle_info({:retire, why}, %{phase: :ready} = state) do
    Directory.notify(state.handle, :manager, {:retire, state.slot, state.generation, why})
    {:noreply, state}
  end

  def handle_info(:start_timeout, %{phase: phase} = state) when phase in [:launching, :setup],
    do: kill(state, "was not ready within #{state.handle.options.start_timeout} ms")

  def handle_info(:heartbeat, %{phase: :ready} = state), do: heartbeat(state)

  def handle_info(:poll_memory, %{phase: :ready} = state),
    do: {:noreply, send_ping(state, :memory)}

  def handle_info(:drained?, state), do: drained(state)
  def handle_info(:stop_timeout, state), do: kill(state, "did not shut down in time")
  def handle_info(:closing_timeout, state), do: close(state)
  def handle_info(:killed_timeout, %{port: nil} = state), do: {:noreply, state}
  def handle_info(:killed_timeout, state), do: give_up(state)

  # Timers that outlived their phase.
  def handle_info(late, state) when late in [:start_timeout, :heartbeat, :poll_memory],
    do: {:noreply, state}

  def handle_info({:retire, _why}, state), do: {:noreply, state}

  # --- what the worker says

  defp message({:main, Protocol.type(:hello)}, 0, body, %{phase: :launching} = state) do
    version = Protocol.version()

    case MessagePack.decode(body) do
      {:ok, %{"protocol" => ^version} = hello} ->
        {:noreply, %{state | hello: hello}, {:continue, :setup}}

      _other ->
        kill(state, "does not speak version #{version} of the wire protocol", :protocol)
    end
  end

  defp message({:main, Protocol.type(:ready)}, 0, _body, %{phase: :setup} = state) do
    cancel_timer(state.start_timer)
    if state.handle.options.heartbeat, do: send(self(), :heartbeat)
    if state.handle.options.max_memory != :infinity, do: send(self(), :poll_memory)

    ready = %{
      slot: state.slot,
      generation: state.generation,
      worker: self(),
      writer: state.writers.main,
      os_pid: state.os_pid,
      hello: state.hello,
      replay: state.replay
    }

    Directory.notify(state.handle, :manager, {:ready, ready})
    {:noreply, %{state | phase: :ready}}
  end

  # Its exit follows.
  defp message({:main, Protocol.type(:failed)}, 0, body, %{phase: :setup} = state),
    do: {:noreply, %{state | failed: body}}

  defp message({:control, Protocol.type(:cancel_ack)}, id, body, state) do
    state = %{state | rebalancing: MapSet.delete(state.rebalancing, id)}

    case MessagePack.decode(body) do
      {:ok, "revoked"} -> {:noreply, revoked(state, id)}
      # Its end comes, or has come.
      {:ok, "running"} -> {:noreply, running(state, id)}
      {:ok, "done"} -> {:noreply, state}
      _other -> broke_protocol(state)
    end
  end

  defp message({:control, Protocol.type(:flushed)}, id, body, state) do
    {reply_to, flushes} = Map.pop(state.flushes, id)
    if reply_to, do: send(reply_to, {reply_to, body})
    {:noreply, %{state | flushes: flushes}}
  end

  defp message({:control, Protocol.type(:pong)}, id, body, state) do
    case MessagePack.decode(body) do
      {:ok, %{"rss" => _bytes} = pong} -> {:noreply, pong(state, id, pong)}
      _other -> broke_protocol(state)
    end
  end

  defp message({:control, Protocol.type(:stacked)}, id, body, state) do
    {asker, pings} = Pings.take(state.pings, id)
    if asker, do: GenServer.reply(asker, body)
    {:noreply, %{state | pings: pings}}
  end

  defp message(_unexpected, _id, _body, state), do: broke_protocol(state)

  defp broke_protocol(state), do: kill(state, "broke the wire protocol", :protocol)

  defp log(state, bytes) do
    {lines, output} = Output.add(state.output, bytes, behind?(state))
    print(%{state | output: output}, lines)
  end

  defp log_record(%{printer: nil} = state, _record, _caller, _size), do: state

  defp log_record(state, record, caller, size) do
    if behind?(state) do
      %{state | unlogged: state.unlogged + 1}
    else
      state = print(state, LogRecord.unlogged(state.unlogged))
      Printer.log(state.printer, record, caller, size)
      %{state | printing: state.printing + size, unlogged: 0}
    end
  end

  # Lines that nobody reads are not worth taking apart.
  defp behind?(%{printer: nil}), do: true

  # The printer with the Logger, or this process with taking lines apart.
  defp behind?(%{printing: printing}) do
    {:message_queue_len, waiting} = Process.info(self(), :message_queue_len)
    printing > @printing_limit or waiting > @packets_limit
  end

  defp print(state, []), do: state

  defp print(state, lines) do
    size = lines |> Enum.map(&(byte_size(&1) + 1)) |> Enum.sum()
    Printer.print(state.printer, lines, size)
    %{state | printing: state.printing + size}
  end

  defp printer(%{handle: %{options: %{stdout: :ignore}}}, _os_pid), do: nil

  defp printer(state, os_pid),
    do: Printer.start(pool: state.handle.name, worker: state.name, os_pid: os_pid)

  # --- cancelling

  defp cancel(%{phase: phase} = state, id) when phase in [:ready, :draining] do
    Incoming.cancel(state.handle, id)
    tell(state, :control, Protocol.type(:cancel), id, true)
    await_stop(state, id)
  end

  defp cancel(state, _id), do: state

  # A stream that was to be closed by now. One that has not begun to waits for another request, which has a
  # deadline of its own; it must not be revoked, for nobody would close the stream then.
  defp close_due(%{handle: handle} = state, id) do
    case Pending.lookup(handle, id) do
      nil ->
        state

      {_id, dest, tag, _caller, _slot, _generation, _sent_at, _wire} ->
        if Running.last?(Running.read(state.running), id) do
          cancel(state, id)
        else
          Pending.abandon(handle, id)
          if dest, do: send(dest, {tag, :later})
          Process.send_after(self(), {:close_due, id}, handle.options.grace)
          state
        end
    end
  end

  # Does Python run another request, which has a caller and a deadline of its own?
  defp behind_another?(state, id) do
    case Running.read(state.running) do
      %{last: last} when last != id -> Pending.member?(state.handle, last)
      _this_or_unknown -> false
    end
  end

  defp await_stop(state, id) do
    timer = Process.send_after(self(), {:grace, id}, state.handle.options.grace)
    put_in(state.cancels[id], %{timer: timer, running?: false})
  end

  # Also one beside the main thread, of which the file of what has begun says nothing.
  defp running(state, id) do
    if is_map_key(state.cancels, id),
      do: put_in(state.cancels[id].running?, true),
      else: state
  end

  # The request in front of it takes longer than the window was made for. Asked once at a
  # time, and only for a request that is here: each "revoked" takes back one frame that was sent, or
  # the next that will be.
  defp rebalance(%{phase: phase} = state, id) when phase in [:ready, :draining] do
    if MapSet.member?(state.rebalancing, id) or not here?(state, id) do
      state
    else
      Slots.shrink_window(state.handle, state.slot)
      tell(state, :control, Protocol.type(:cancel), id, false)
      %{state | rebalancing: MapSet.put(state.rebalancing, id)}
    end
  end

  defp rebalance(state, _id), do: state

  # Only this process takes a request away from its worker and leaves it open.
  defp here?(%{slot: slot, generation: generation} = state, id) do
    case Pending.lookup(state.handle, id) do
      {_id, _dest, _tag, _caller, ^slot, ^generation, _sent_at, _wire} -> true
      _ended_or_elsewhere -> false
    end
  end

  # The worker will never run it: nobody waits for it any more, or another worker may.
  defp revoked(%{handle: handle, slot: slot} = state, id) do
    case Pending.lookup(handle, id) do
      {_id, nil, _tag, _caller, ^slot, _generation, _sent_at, _wire} ->
        Pending.discard(handle, id)
        Queue.dispatch(handle)

      {_id, _dest, _tag, _caller, ^slot, generation, _sent_at, _wire} ->
        if Pending.unassign(handle, id, slot, generation), do: Queue.requeue(handle, [id])

      # Outside the window: nobody else could run it.
      {_id, _dest, _tag, _caller, place, _generation, _sent_at, _wire} when place == -slot ->
        Pending.discard(handle, id)

      _ended ->
        :ok
    end

    {cancel, cancels} = Map.pop(state.cancels, id)
    cancel_timer(cancel && cancel.timer)
    %{state | cancels: cancels}
  end

  # --- health

  defp send_ping(state, asker), do: send_question(state, Protocol.type(:ping), asker)

  defp send_question(state, type, asker) do
    {id, pings} = Pings.add(state.pings, asker)
    tell(state, :control, type, id)
    %{state | pings: pings}
  end

  defp pong(state, id, pong) do
    {asker, pings} = Pings.take(state.pings, id)

    case asker do
      :memory -> check_memory(state, pong["rss"])
      {_pid, _tag} -> GenServer.reply(asker, pong)
      _heartbeat_or_unknown -> :ok
    end

    %{state | pings: pings}
  end

  defp check_memory(%{handle: %{options: %{max_memory: max}}}, rss) do
    if rss > max, do: send(self(), {:retire, "uses #{rss} bytes of memory, its limit is #{max}"})
    Process.send_after(self(), :poll_memory, @memory_poll_ms)
  end

  # Each must be answered by the time of the next.
  defp heartbeat(%{handle: %{options: %{heartbeat: interval}}} = state) do
    if Pings.waiting?(state.pings, :heartbeat) do
      kill(state, "did not answer a heartbeat within #{interval} ms")
    else
      Process.send_after(self(), :heartbeat, interval)
      {:noreply, send_ping(state, :heartbeat)}
    end
  end

  # --- ends

  defp drained(%{phase: :draining} = state) do
    if idle?(state) and not streams?(state) do
      tell(state, :control, Protocol.type(:shutdown), 0)
      Process.send_after(self(), :stop_timeout, state.handle.options.grace)
      {:noreply, %{state | phase: :stopping}}
    else
      Process.send_after(self(), :drained?, @drain_poll_ms)
      {:noreply, state}
    end
  end

  defp drained(state), do: {:noreply, state}

  defp idle?(%{handle: handle, slot: slot}),
    do: Slots.in_flight(handle, slot) == 0 and Slots.beside(handle, slot) <= 0

  defp streams?(state) do
    Streams.count(state.handle, state.slot, state.generation) > 0 and
      System.monotonic_time(:millisecond) < state.drain_until
  end

  # The first cause counts. Its exit status and the ends of its connections follow.
  defp kill(state, did, kind \\ :worker_exit) do
    OSProcess.signal(state.os_pid, :kill)
    Process.send_after(self(), :killed_timeout, @killed_ms)
    {:noreply, %{state | cause: state.cause || {kind, did}}}
  end

  # Closing the port before its process has ended forgets its exit status, no more.
  defp give_up(%{port: port} = state) do
    true = Port.close(port)
    over(%{state | port: nil})
  end

  # The channel of a thread or a loop: only the last of all parts matters.
  defp closed(%{port: nil, readers: readers} = state) when readers == %{}, do: stop(state)
  defp closed(state), do: {:noreply, state}

  # Called whenever a part of it has ended.
  defp over(%{port: nil, readers: readers} = state) when readers == %{}, do: stop(state)

  defp over(state) do
    wait = if state.port, do: @exiting_ms, else: @closing_ms
    Process.send_after(self(), :closing_timeout, wait)
    {:noreply, state}
  end

  # Never by a kill: a result that a reader has in its hands would be lost.
  defp close(%{port: nil} = state) do
    Enum.each(state.readers, fn {_ref, {_channel, reader}} -> send(reader, :finish) end)
    {:noreply, state}
  end

  defp close(state), do: kill(state, "closed a connection")

  defp stop(%{phase: :stopping, status: 0} = state), do: {:stop, {:shutdown, :drained}, state}

  defp stop(%{phase: phase} = state) when phase in [:launching, :setup],
    do: stop_failed(state, start_error(state))

  defp stop(state),
    do: {:stop, {:shutdown, {:exited, exit_info(state), Running.read(state.running)}}, state}

  defp stop_failed(state, error), do: {:stop, {:shutdown, {:start_failed, error}}, state}

  defp start_error(%{failed: nil} = state),
    do: Exit.not_started(exit_info(state), state.executable)

  defp start_error(%{failed: body} = state) do
    case Reply.exception(body) do
      {:ok, exception} -> Exit.not_set_up(exit_info(state), exception)
      {:error, _undecodable} -> Exit.not_started(exit_info(state), state.executable)
    end
  end

  defp exit_info(state) do
    %{
      status: state.status,
      cause: state.cause,
      os_pid: state.os_pid,
      output: Output.last(state.output)
    }
  end

  @impl true
  def terminate(_reason, state) do
    if state.port, do: end_process(state)
    forget_launch(state)
  rescue
    # The tables have gone, and the pool with them.
    ArgumentError -> :ok
  end

  # The supervisor ends this process: Python may run its `atexit`, within its grace.
  defp end_process(%{port: port} = state) do
    if state.phase in [:ready, :draining, :stopping] do
      tell(state, :control, Protocol.type(:shutdown), 0)
      await_exit(port, state.handle.options.grace)
    end

    OSProcess.signal(state.os_pid, :kill)
    await_exit(port, @killed_ms)
  end

  # Also for who looks after us: when this process has ended, so has Python.
  defp await_exit(port, timeout) do
    receive do
      {^port, {:exit_status, _status} = exited} -> send(self(), {port, exited})
    after
      timeout -> :timeout
    end
  end

  defp forget_launch(state) do
    if state.running, do: Running.delete(state.running)
    if state.token, do: Directory.delete_token(state.handle, state.token)
  end

  defp cancel_timer(nil), do: :ok
  defp cancel_timer(timer), do: Process.cancel_timer(timer)
end
