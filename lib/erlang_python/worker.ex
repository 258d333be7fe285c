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

  import ErlangPython.Worker.State, only: [tell: 4]

  alias ErlangPython.{Error, MessagePack, Protocol}
  alias ErlangPython.Pool.{Directory, Handle, Slots, Streams}
  alias ErlangPython.Request.Reply
  alias ErlangPython.Telemetry.Events

  alias ErlangPython.Worker.{
    Exit,
    Health,
    Launch,
    LogRecord,
    OSProcess,
    Printing,
    Running,
    State,
    Stopping
  }

  require Protocol

  # How long the sockets may stay open when the process has ended: a child that Python forked can hold them.
  @closing_ms 100
  # How long the process may stay when a socket has closed: on a busy machine its exit status comes late.
  @exiting_ms 1_000
  @drain_poll_ms 5
  # How long a worker that drains waits for streams that nobody has read to their end.
  @streams_ms 30_000

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
  def init(start) do
    Process.flag(:trap_exit, true)
    {:ok, State.new(start), {:continue, :launch}}
  end

  # --- start

  @impl true
  def handle_continue(:launch, state), do: launched(Launch.launch(state))

  def handle_continue(:setup, %{phase: :launching, hello: %{}} = state) do
    if both?(state.writers), do: {:noreply, Launch.set_up(state)}, else: {:noreply, state}
  end

  def handle_continue(:setup, state), do: {:noreply, state}

  defp launched({:ok, state}), do: {:noreply, state}
  defp launched({:error, error, state}), do: stop_failed(state, error)

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
    do: {:noreply, Health.ping(state, from)}

  def handle_call(:stacks, from, %{phase: phase} = state) when phase in [:ready, :draining],
    do: {:noreply, Health.stacks(state, from)}

  def handle_call(:interrupt, _from, %{phase: phase} = state) when phase in [:ready, :draining] do
    # Also of a callback's nested request, which the one that the file names waits for.
    with %{last: id} <- State.begun(state), true <- State.here?(state, id) do
      {:reply, :ok, Stopping.cancel(state, id)}
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
    do: {:noreply, %{state | printing: Printing.write(state.printing, bytes)}}

  # Printed by a request whose caller is gone, or that has ended.
  def handle_info({:unclaimed, text}, state),
    do: {:noreply, %{state | printing: Printing.write(state.printing, text)}}

  def handle_info({:log, caller, body}, state) do
    case LogRecord.decode(body) do
      {:ok, record} ->
        printing = Printing.log(state.printing, record, caller, byte_size(body))
        {:noreply, %{state | printing: printing}}

      :error ->
        broke_protocol(state)
    end
  end

  def handle_info({:printed, size}, state),
    do: {:noreply, %{state | printing: Printing.printed(state.printing, size)}}

  def handle_info(
        {port, {:exit_status, @exit_no_runtime}},
        %{port: port, phase: :launching, provisioned?: false} = state
      ),
      do: launched(Launch.provision(%{state | port: nil}))

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

  def handle_info({:move, id, wire}, state), do: {:noreply, Stopping.move(state, id, wire)}

  def handle_info({:cancel, id}, state), do: {:noreply, Stopping.cancel(state, id)}

  def handle_info({:rebalance, id}, state), do: {:noreply, Stopping.rebalance(state, id)}

  def handle_info({:flush, id, reply_to}, %{phase: phase} = state)
      when phase in [:ready, :draining] do
    tell(state, :control, Protocol.type(:flush), id)
    {:noreply, put_in(state.flushes[id], reply_to)}
  end

  # Its end is near, and ends the pull too.
  def handle_info({:flush, _id, _reply_to}, state), do: {:noreply, state}

  def handle_info({:close_due, id}, state), do: {:noreply, Stopping.close_due(state, id)}

  def handle_info({:grace, id}, state), do: {:noreply, Stopping.grace_over(state, id)}

  def handle_info({:retire, why}, %{phase: :ready} = state) do
    Directory.notify(state.handle, :manager, {:retire, state.slot, state.generation, why})
    {:noreply, state}
  end

  def handle_info(:start_timeout, %{phase: phase} = state) when phase in [:launching, :setup],
    do:
      kill(
        state,
        "was not ready within #{state.handle.options.start_timeout} ms (:start_timeout)"
      )

  def handle_info(:heartbeat, %{phase: :ready} = state), do: {:noreply, Health.heartbeat(state)}

  def handle_info(:poll_memory, %{phase: :ready} = state),
    do: {:noreply, Health.ping(state, :memory)}

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
    Launch.cancel_timer(state)
    Health.begin(state)

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
    with {:ok, answer} <- MessagePack.decode(body),
         {:ok, state} <- Stopping.acknowledged(state, id, answer) do
      {:noreply, state}
    else
      _unknown -> broke_protocol(state)
    end
  end

  defp message({:control, Protocol.type(:flushed)}, id, body, state) do
    {reply_to, flushes} = Map.pop(state.flushes, id)
    if reply_to, do: send(reply_to, {reply_to, body})
    {:noreply, %{state | flushes: flushes}}
  end

  defp message({:control, Protocol.type(:pong)}, id, body, state) do
    case MessagePack.decode(body) do
      {:ok, %{"rss" => _bytes} = pong} -> {:noreply, Health.pong(state, id, pong)}
      _other -> broke_protocol(state)
    end
  end

  defp message({:control, Protocol.type(:stacked)}, id, body, state),
    do: {:noreply, Health.stacked(state, id, body)}

  defp message(_unexpected, _id, _body, state), do: broke_protocol(state)

  defp broke_protocol(state), do: kill(state, "broke the wire protocol", :protocol)

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

  defp kill(state, did, kind \\ :worker_exit), do: {:noreply, State.kill(state, did, kind)}

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
    do: {:stop, {:shutdown, {:exited, exit_info(state), State.begun(state)}}, state}

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
      output: Printing.last(state.printing)
    }
  end

  @impl true
  def terminate(reason, state) do
    state = if state.port, do: end_process(state), else: state
    # Its supervisor stops it with the pool, or for a new manager: no manager sees this end.
    if reason == :shutdown,
      do: Events.worker_exited(state.handle, state, {:stopped, state.status})

    Launch.forget(state)
  rescue
    # The tables have gone, and the pool with them.
    ArgumentError -> :ok
  end

  # For who looks after us: when this process has ended, so has Python, and what it had started.
  defp end_process(state) do
    status = end_in_order(state)
    OSProcess.signal(state.os_pid, :kill)
    %{state | port: nil, status: status || await_exit(state.port, State.killed_ms())}
  end

  # Python may run its `atexit`, within its grace.
  defp end_in_order(%{phase: phase} = state) when phase in [:ready, :draining, :stopping] do
    tell(state, :control, Protocol.type(:shutdown), 0)
    await_exit(state.port, state.handle.options.grace)
  end

  defp end_in_order(_starting), do: nil

  defp await_exit(port, timeout) do
    receive do
      {^port, {:exit_status, status}} -> status
    after
      timeout -> nil
    end
  end
end
