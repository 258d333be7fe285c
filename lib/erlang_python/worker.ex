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

  alias ErlangPython.{Error, Protocol}
  alias ErlangPython.Pool.{Directory, Handle, Pending, Slots}
  alias ErlangPython.Telemetry.Events

  alias ErlangPython.Worker.{
    Ending,
    Exit,
    Health,
    Launch,
    LogRecord,
    Messages,
    OSProcess,
    Printing,
    Running,
    State,
    Stopping
  }

  require Protocol

  @exit_no_runtime 78

  @type start :: {Handle.t(), Slots.slot(), generation :: pos_integer()}
  @type channel ::
          :main
          | :control
          | {:thread, String.t()}
          | {:loop, String.t()}
          | {:child, String.t()}
          | :unknown

  @typedoc "The reasons with which a worker's process ends, other than by a crash of its own."
  @type reason ::
          {:shutdown, {:start_failed, Error.t()}}
          | {:shutdown, {:exited, Exit.t(), Running.t()}}
          | {:shutdown, :drained}

  @spec start_link(start()) :: GenServer.on_start()
  def start_link(start), do: GenServer.start_link(__MODULE__, start)

  @doc """
  Starts the OS process. Whoever asks monitors the worker by then, so that the reason with which it ends, which may
  be at once, reaches him.
  """
  @spec launch(pid()) :: :ok
  def launch(worker), do: GenServer.cast(worker, :launch)

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
    {:ok, State.new(start)}
  end

  # --- start

  @impl true
  def handle_cast(:launch, state), do: launched(Launch.launch(state))
  def handle_cast(:drain, state), do: Ending.drain(state)

  defp launched({:ok, state}), do: {:noreply, state}
  defp launched({:error, error, state}), do: Ending.stop_failed(state, error)

  @impl true
  def handle_continue(:setup, %{phase: :launching, hello: %{}} = state) do
    if both?(state.writers), do: {:noreply, Launch.set_up(state)}, else: {:noreply, state}
  end

  def handle_continue(:setup, state), do: {:noreply, state}

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
    with %{last: id} <- State.begun(state),
         true <- Pending.on_main_thread?(state.handle, id, state.slot) do
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
      os_pid == nil or theirs?(channel, os_pid, state) -> :ok
      true -> {:error, "OS process #{os_pid} is not #{peer(channel)}"}
    end
  end

  # Whoever has left the worker's group would outlive it.
  defp theirs?({:child, _number}, os_pid, state), do: OSProcess.in_group?(os_pid, state.os_pid)
  defp theirs?(_channel, os_pid, state), do: os_pid == state.os_pid

  defp peer({:child, _number}), do: "of the worker's process group"
  defp peer(_channel), do: "the worker"

  defp both?(writers), do: is_map_key(writers, :main) and is_map_key(writers, :control)

  @impl true
  def handle_info({:message, channel, [head | _buffers]}, state) do
    case Protocol.split_head(head) do
      {type, id, body} -> Messages.handle({channel, type}, id, body, state)
      :error -> Messages.broken(state)
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
        Messages.broken(state)
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
    Ending.over(%{state | port: nil, status: status})
  end

  def handle_info({port, _late}, state) when is_port(port), do: {:noreply, state}
  def handle_info({:EXIT, port, _reason}, state) when is_port(port), do: {:noreply, state}
  def handle_info({:EXIT, _parent, reason}, state), do: {:stop, reason, state}

  def handle_info({:DOWN, ref, :process, reader, reason}, state) do
    {{channel, ^reader}, readers} = Map.pop!(state.readers, ref)
    state = %{state | readers: readers}

    if channel in [:main, :control],
      do: Ending.over(state),
      else: Ending.closed(%{state | writers: Map.delete(state.writers, channel)}, channel, reason)
  end

  def handle_info({:beside, wire}, state) do
    with %{control: writer} <- state.writers, do: send(writer, {:tx, wire})
    {:noreply, state}
  end

  def handle_info({:move, id, wire}, state), do: {:noreply, Stopping.move(state, id, wire)}

  def handle_info({:cancel, id}, state), do: {:noreply, Stopping.cancel(state, id)}

  def handle_info({:rebalance, id, next}, state),
    do: {:noreply, Stopping.rebalance(state, id, next)}

  def handle_info({:flush, id, reply_to}, %{phase: phase} = state)
      when phase in [:ready, :draining] do
    tell(state, :control, Protocol.type(:flush), id)
    {:noreply, put_in(state.flushes[id], reply_to)}
  end

  # Its end is near, and ends the pull too.
  def handle_info({:flush, _id, _reply_to}, state), do: {:noreply, state}

  def handle_info({:close_due, id}, state), do: {:noreply, Stopping.close_due(state, id)}

  def handle_info({:close_over, id}, state), do: {:noreply, Stopping.close_over(state, id)}

  def handle_info({:grace, id}, state), do: {:noreply, Stopping.grace_over(state, id)}

  def handle_info({:retire, why}, %{phase: :ready} = state) do
    Directory.notify(state.handle, :manager, {:retire, state.slot, state.generation, why})
    {:noreply, state}
  end

  def handle_info(:start_timeout, %{phase: phase} = state) when phase in [:launching, :setup] do
    did = "was not ready within #{state.handle.options.start_timeout} ms (:start_timeout)"
    {:noreply, State.kill(state, did)}
  end

  def handle_info(:heartbeat, %{phase: phase} = state) when phase in [:ready, :draining],
    do: {:noreply, Health.heartbeat(state)}

  def handle_info(:poll_memory, %{phase: :ready} = state),
    do: {:noreply, Health.ping(state, :memory)}

  def handle_info(:drained?, state), do: Ending.drained(state)

  def handle_info(:stop_timeout, state),
    do: {:noreply, State.kill(state, "did not shut down in time")}

  def handle_info(:closing_timeout, state), do: Ending.close(state)
  def handle_info(:killed_timeout, %{port: nil} = state), do: {:noreply, state}
  def handle_info(:killed_timeout, state), do: Ending.give_up(state)

  # Timers that outlived their phase.
  def handle_info(late, state) when late in [:start_timeout, :heartbeat, :poll_memory],
    do: {:noreply, state}

  def handle_info({:retire, _why}, state), do: {:noreply, state}

  @impl true
  def terminate(reason, state) do
    try do
      state = if state.port, do: Ending.end_process(state), else: state
      # Its supervisor stops it with the pool, or for a new manager: no manager sees this end.
      if reason == :shutdown,
        do: Events.worker_exited(state.handle, state, {:stopped, state.status})

      Printing.finish(state.printing)
    after
      Launch.forget(state)
    end
  rescue
    # The tables have gone, and the pool with them.
    ArgumentError -> :ok
  end
end
