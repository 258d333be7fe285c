defmodule ErlangPython.Pool.Manager do
  @moduledoc false
  # Keeps every slot of a pool filled: starts workers, opens their slots when they are ready, settles what a
  # dead one left, waits longer after each failed start, and recycles workers one at a time.

  use GenServer

  alias ErlangPython.Callbacks.Origin
  alias ErlangPython.{Error, Worker}

  alias ErlangPython.Pool.{
    Audit,
    Backoff,
    Contexts,
    Directory,
    Queue,
    Handle,
    Overflow,
    Pending,
    Refs,
    Replay,
    Slots,
    Streams,
    Supervisor,
    Window
  }

  alias ErlangPython.Request.Message
  alias ErlangPython.Telemetry.Events
  alias ErlangPython.Worker.{Exit, OSProcess, Running}

  # Start failures in a row before callers get the error instead of waiting. A pool that
  # never had a worker is not going to be whole by itself: there one is enough.
  @failures_before_circuit 3
  @drain_poll_ms 10
  @audit_ms 1_000

  @spec start_link(Handle.t()) :: GenServer.on_start()
  def start_link(handle), do: GenServer.start_link(__MODULE__, handle)

  @doc "Waits until each worker is ready, or the first has failed to start."
  @spec await_ready(Handle.t()) :: :ok | {:error, Error.t()}
  def await_ready(handle), do: call(handle, :await_ready)

  @doc "Waits until no request is open any more."
  @spec await_empty(Handle.t(), timeout()) :: :ok | :timeout
  def await_empty(handle, timeout) do
    call(handle, :await_empty, timeout)
  catch
    :exit, {:timeout, _call} -> :timeout
  end

  @spec scale(Handle.t(), pos_integer()) :: :ok | {:error, Error.t()}
  def scale(handle, count), do: call(handle, {:scale, count})

  @doc "Replaces each worker, one at a time, between two requests."
  @spec restart(Handle.t()) :: :ok | {:error, Error.t()}
  def restart(handle), do: call(handle, :restart)

  @doc """
  Opens a context in a worker: one with nothing else for `:dedicated`, which is then set aside; the one with the fewest
  contexts for `:shared`. Waits for workers that start, or are about to be replaced, but not for one that itself waits for the
  caller.
  """
  @spec open_context(Handle.t(), :dedicated | :shared, pid()) ::
          {:ok, Contexts.id()} | {:error, Error.t()}
  def open_context(handle, mode, owner),
    do: call(handle, {:open_context, mode, owner, Origin.waiting_slots(handle)})

  @typedoc "A worker that takes requests."
  @type running :: {Slots.slot(), generation :: pos_integer()}

  @doc """
  The workers that are ready, once none is starting any more. If there are none, why; `:timeout` if that takes
  longer.
  """
  @spec running(Handle.t(), timeout()) :: {:ok, [running()]} | {:error, Error.t() | :timeout}
  def running(handle, timeout) do
    call(handle, :running, timeout)
  catch
    :exit, {:timeout, _call} -> {:error, :timeout}
  end

  @doc "Replays a request into each worker that starts from now on. Gives the workers that are ready."
  @spec replay(Handle.t(), Replay.name(), Message.packed()) :: [running()]
  def replay(handle, name, packed), do: call(handle, {:replay, name, packed})

  @doc "No longer replays this request. Gives the workers that are ready."
  @spec forget(Handle.t(), Replay.name()) :: [running()]
  def forget(handle, name), do: call(handle, {:forget, name})

  @doc "Every slot with what is known of its worker."
  @spec slots(Handle.t()) :: [map()]
  def slots(handle), do: call(handle, :slots)

  defp call(handle, request, timeout \\ :infinity),
    do: GenServer.call(whereis(handle), request, timeout)

  # Whoever comes first may come while the pool is being started. Its supervisor answers when all of it is there.
  defp whereis(handle) do
    with nil <- Directory.whereis(handle, :manager),
         supervisor when is_pid(supervisor) <- Supervisor.whereis(handle.name) do
      Elixir.Supervisor.count_children(supervisor)
      Directory.whereis(handle, :manager)
    end
  end

  @impl true
  def init(handle) do
    for slot <- 1..Slots.count(handle)//1, do: Slots.put_window(handle, slot, 0)
    Directory.register(handle, :manager)

    state = %{
      handle: handle,
      workers: Supervisor.workers(handle.name),
      count: 0,
      slots: %{},
      failures: 0,
      last_error: nil,
      had_worker: false,
      recycling: :queue.new(),
      current: nil,
      # Runs while there are more extra workers than are needed.
      shrink: nil,
      waiting: %{ready: [], empty: [], restart: [], running: [], context: []},
      look: Audit.look(handle)
    }

    audit_later()
    {:ok, state, {:continue, :start}}
  end

  @impl true
  def handle_continue(:start, state) do
    end_orphans(state)
    settle_orphans(state.handle)
    count = max(Slots.size(state.handle), state.handle.options.workers)
    {:noreply, resize(state, count)}
  end

  defp audit_later, do: Process.send_after(self(), :audit, @audit_ms)

  # Workers of an earlier manager.
  defp end_orphans(state) do
    for {_id, pid, _type, _modules} <- DynamicSupervisor.which_children(state.workers),
        do: DynamicSupervisor.terminate_child(state.workers, pid)
  end

  # Requests in slots from before this process: nobody knows any more whether they ran. The order
  # matters as in `down`.
  defp settle_orphans(handle) do
    for slot <- 1..Slots.count(handle)//1 do
      Directory.delete_worker(handle, slot)
      Slots.next_generation(handle, slot)
    end

    for {id, place} when place != 0 <- Pending.places(handle),
        do: Pending.finish(handle, id, Exit.lost(unknown_exit(nil), :running))
  end

  @impl true
  def handle_call(:await_ready, from, state),
    do: {:noreply, state |> wait(:ready, from) |> tell_ready()}

  def handle_call(:await_empty, from, state),
    do: {:noreply, state |> wait(:empty, from) |> tell_empty()}

  def handle_call({:scale, count}, from, state),
    do: {:noreply, state |> resize(count) |> wait(:ready, from) |> tell_ready()}

  def handle_call(:restart, from, state) do
    state = Enum.reduce(Map.keys(state.slots), state, &enqueue_recycle/2)
    {:noreply, state |> wait(:restart, from) |> recycle_next()}
  end

  def handle_call({:open_context, mode, owner, waiting_slots}, from, state),
    do: {:noreply, place_context({from, mode, owner, waiting_slots}, state)}

  def handle_call(:running, from, state),
    do: {:noreply, state |> wait(:running, from) |> tell_running()}

  def handle_call({:replay, name, packed}, _from, state),
    do: put_replay(state, &Replay.put(&1, name, packed))

  def handle_call({:forget, name}, _from, state), do: put_replay(state, &Replay.delete(&1, name))

  def handle_call(:slots, _from, state), do: {:reply, Map.values(state.slots), state}

  # Waits for a worker that starts, or makes room for one, if no other is to be had.
  defp place_context({from, mode, owner, waiting_slots} = opener, %{handle: handle} = state) do
    ready = for {_slot, %{phase: :ready, set_aside: false} = entry} <- state.slots, do: entry

    case Enum.min_by(ready, &weight(state, &1.slot, mode), fn -> nil end) do
      nil ->
        if Enum.any?(state.slots, &soon_new?(&1, waiting_slots)) do
          wait(state, :context, opener)
        else
          GenServer.reply(from, {:error, state.last_error || Contexts.none_free()})
          state
        end

      %{slot: slot, generation: generation} ->
        Slots.put_contexts(handle, slot, Slots.contexts(handle, slot) + 1)
        if mode == :dedicated, do: Slots.put_window(handle, slot, 0)
        state = put_in(state.slots[slot].set_aside, mode == :dedicated)

        # Here, not by the owner, who may be killed at any point and would leave a worker set aside.
        id = Contexts.put(handle, owner, {slot, generation}, mode)
        state = overflow(state)
        GenServer.reply(from, {:ok, id})
        state
    end
  end

  defp soon_new?({_slot, %{phase: :starting}}, _waiting_slots), do: true
  # One that drains waits for what it runs to end.
  defp soon_new?({slot, %{phase: :draining}}, waiting_slots), do: slot not in waiting_slots
  defp soon_new?(_ready_or_waiting, _waiting_slots), do: false

  defp place_waiting(%{waiting: %{context: []}} = state), do: state

  defp place_waiting(%{waiting: %{context: openers}} = state) do
    state = put_in(state.waiting.context, [])
    openers |> Enum.reverse() |> Enum.reduce(state, &place_context/2)
  end

  defp starting?(state),
    do: Enum.any?(state.slots, fn {_slot, entry} -> entry.phase == :starting end)

  defp put_replay(%{handle: handle} = state, change) do
    Directory.put_replay(handle, change.(Directory.replay(handle)))
    {:reply, running_workers(state), state}
  end

  defp running_workers(state) do
    for {slot, %{phase: :ready, generation: generation}} <- Enum.sort(state.slots),
        do: {slot, generation}
  end

  defp wait(state, what, from), do: update_in(state.waiting[what], &[from | &1])

  @impl true
  def handle_info({:ready, ready}, state) do
    starting? =
      match?(
        %{phase: :starting, generation: generation} when generation == ready.generation,
        state.slots[ready.slot]
      )

    if starting?, do: {:noreply, ready(state, ready)}, else: {:noreply, state}
  end

  def handle_info({:DOWN, ref, :process, worker, reason}, state) do
    case Enum.find(state.slots, fn {_slot, entry} -> entry.ref == ref end) do
      {slot, %{worker: ^worker} = entry} -> {:noreply, down(state, slot, entry, reason)}
      nil -> {:noreply, state}
    end
  end

  def handle_info({:start, slot}, state) do
    case state.slots do
      %{^slot => %{phase: :waiting}} -> {:noreply, start_worker(state, slot)}
      _started_or_gone -> {:noreply, state}
    end
  end

  def handle_info({:retire, slot, generation, _why}, state) do
    case state.slots do
      %{^slot => %{generation: ^generation}} ->
        {:noreply, slot |> enqueue_recycle(state) |> recycle_next()}

      _gone ->
        {:noreply, state}
    end
  end

  def handle_info({:leave_context, slot, generation, mode}, state) do
    case state.slots do
      %{^slot => %{generation: ^generation} = entry} ->
        contexts = Slots.contexts(state.handle, slot)
        Slots.put_contexts(state.handle, slot, max(contexts - 1, 0))

        if mode == :dedicated do
          if entry.phase == :ready, do: open_slot(state.handle, slot)
          state = put_in(state.slots[slot].set_aside, false)
          {:noreply, state |> place_waiting() |> overflow()}
        else
          {:noreply, state}
        end

      _another_worker ->
        {:noreply, state}
    end
  end

  def handle_info(:shrink, %{handle: handle} = state) do
    keeps? = &keeps?(handle, state.slots[&1])

    superfluous =
      Overflow.superfluous(state.slots, state.count, handle.options.max_overflow, keeps?)

    {:noreply, superfluous |> Enum.reduce(%{state | shrink: nil}, &close/2) |> overflow()}
  end

  def handle_info(:empty?, state), do: {:noreply, tell_empty(state)}

  def handle_info(:dispatch, state) do
    Queue.dispatch(state.handle)
    {:noreply, state}
  end

  def handle_info(:audit, state) do
    look = Audit.look(state.handle)
    Audit.mend(state.handle, state.look, look)
    audit_later()
    {:noreply, %{state | look: look}}
  end

  # --- size

  # Where a worker of an earlier, larger size is still closing, `down` starts the next.
  defp resize(state, count) when count >= state.count do
    Slots.put_size(state.handle, count)
    Slots.put_count(state.handle, max(count, Slots.count(state.handle)))
    new = Enum.reject((state.count + 1)..count//1, &is_map_key(state.slots, &1))
    Enum.reduce(new, %{state | count: count}, &start_worker(&2, &1)) |> overflow()
  end

  # Slots above the count are emptied by `down`, and only then no longer looked at.
  defp resize(state, count) do
    Slots.put_size(state.handle, count)
    superfluous = for slot <- Map.keys(state.slots), slot > count, do: slot
    Enum.reduce(superfluous, %{state | count: count}, &close/2) |> shrink_scan() |> overflow()
  end

  defp close(slot, state) do
    case state.slots[slot] do
      %{phase: :waiting} -> remove(state, slot)
      _running -> close_slot(state, slot, :closing)
    end
  end

  # `:draining` is to be replaced, `:closing` is not.
  defp close_slot(state, slot, phase) do
    Slots.put_window(state.handle, slot, 0)
    Worker.drain(state.slots[slot].worker)
    put_in(state.slots[slot].phase, phase)
  end

  # Extra workers, as many as are needed. One that is not is ended when it has not been for a while.
  defp overflow(%{handle: %{options: %{max_overflow: 0}}} = state), do: state

  defp overflow(%{handle: %{options: %{max_overflow: max}}, count: count} = state) do
    missing = Overflow.missing(state.slots, count, max)
    state = missing |> Enum.reduce(state, &start_worker(&2, &1)) |> shrink_scan()

    case {Overflow.any_superfluous?(state.slots, count, max), state.shrink} do
      {true, nil} -> %{state | shrink: Process.send_after(self(), :shrink, Overflow.linger_ms())}
      {false, timer} when timer != nil -> cancel_shrink(state)
      _as_before -> state
    end
  end

  defp cancel_shrink(state) do
    Process.cancel_timer(state.shrink)
    %{state | shrink: nil}
  end

  # What would be lost with it.
  defp keeps?(handle, %{slot: slot, generation: generation}) do
    Slots.contexts(handle, slot) > 0 or Refs.any?(handle, slot, generation) or
      Streams.count(handle, slot, generation) > 0
  end

  defp shrink_scan(state) do
    Slots.put_count(state.handle, Enum.max([state.count | Map.keys(state.slots)]))
    state
  end

  # --- one worker

  defp start_worker(state, slot) do
    generation = Slots.next_generation(state.handle, slot)
    Slots.reset_served(state.handle, slot)

    spec = %{
      id: slot,
      start: {Worker, :start_link, [{state.handle, slot, generation}]},
      restart: :temporary,
      # Its own patience with Python, and then some.
      shutdown: state.handle.options.grace + 5_000
    }

    {:ok, worker} = DynamicSupervisor.start_child(state.workers, spec)

    entry = %{
      slot: slot,
      generation: generation,
      worker: worker,
      ref: Process.monitor(worker),
      phase: :starting,
      set_aside: false,
      launched: System.monotonic_time(),
      os_pid: nil,
      hello: nil
    }

    put_in(state.slots[slot], entry)
  end

  defp ready(%{handle: handle} = state, %{slot: slot} = ready) do
    Directory.put_worker(handle, ready)
    Directory.put_hello(handle, ready.hello)
    entry = %{state.slots[slot] | phase: :ready, os_pid: ready.os_pid, hello: ready.hello}
    state = put_in(state.slots[slot], entry)
    state = %{state | failures: 0, last_error: nil, had_worker: true}
    Directory.close_circuit(handle)
    Events.worker_started(handle, entry)

    Slots.put_last_end(handle, slot, System.monotonic_time(:microsecond))
    Slots.put_contexts(handle, slot, 0)

    state
    |> open(slot, ready)
    |> place_waiting()
    |> recycled(slot, :ok)
    |> tell_ready()
    |> tell_running()
  end

  # What is replayed has changed since this worker was set up: it makes room for one that knows it.
  defp open(%{handle: handle} = state, slot, ready) do
    if Directory.replay(handle) == ready.replay do
      open_slot(handle, slot)
      state
    else
      close_slot(state, slot, :draining)
    end
  end

  defp open_slot(handle, slot) do
    Slots.put_window(handle, slot, Window.initial(handle.options.window))
    Queue.dispatch(handle)
  end

  # A worker that others wait for, or that has few contexts already, is the worse choice.
  defp weight(%{handle: handle}, slot, :dedicated),
    do: {Slots.contexts(handle, slot), Slots.in_flight(handle, slot)}

  # An extra worker could not end as long as it has one.
  defp weight(%{handle: handle, count: count}, slot, :shared),
    do: {slot > count, Slots.contexts(handle, slot)}

  defp down(%{handle: handle} = state, slot, entry, reason) do
    # The order matters, see Intake.confirm: first the slot closes and its generation moves on, then the rows are collected.
    Slots.put_window(handle, slot, 0)
    Directory.delete_worker(handle, slot)
    Slots.next_generation(handle, slot)
    lost = collect(handle, slot, entry, exit_of(entry, reason))
    Streams.lost(handle, slot, entry.generation)
    Refs.lost(handle, slot, entry.generation)
    Events.worker_exited(handle, entry, reason)

    max_overflow = handle.options.max_overflow

    if slot > state.count and not Overflow.wanted?(state.slots, state.count, max_overflow, slot),
      do: state |> remove(slot) |> place_waiting() |> overflow(),
      else: state |> replace(slot, entry, reason, lost) |> overflow()
  end

  defp remove(state, slot) do
    %{state | slots: Map.delete(state.slots, slot)} |> shrink_scan() |> recycled(slot, :ok)
  end

  defp replace(state, slot, %{phase: phase}, _reason, _lost) when phase in [:draining, :closing],
    do: start_worker(state, slot)

  defp replace(state, slot, _entry, {:shutdown, {:start_failed, error}}, _lost),
    do: start_failed(state, slot, error)

  # Its own process has crashed, or was killed.
  defp replace(state, slot, %{phase: :starting}, reason, _lost),
    do: start_failed(state, slot, Exit.crashed(reason))

  # One that died while it served is replaced at once; one that dies by itself, unused, is not worth a busy loop.
  defp replace(%{handle: handle} = state, slot, _ready, _reason, lost) do
    if lost > 0 or Slots.served(handle, slot) > 0 do
      start_worker(state, slot)
    else
      start_later(%{state | failures: state.failures + 1}, slot)
    end
  end

  defp start_failed(state, slot, error) do
    state = %{state | failures: state.failures + 1, last_error: error}

    state
    |> start_later(slot)
    |> open_circuit()
    |> recycled(slot, {:error, error})
    |> fail_ready(error)
    |> place_waiting()
    |> tell_running()
  end

  defp start_later(state, slot) do
    Process.send_after(self(), {:start, slot}, Backoff.wait_ms(state.failures, :rand.uniform()))
    entry = %{state.slots[slot] | phase: :waiting, worker: nil, ref: nil, os_pid: nil}
    put_in(state.slots[slot], entry)
  end

  defp open_circuit(state) do
    alive? = Enum.any?(state.slots, fn {_slot, entry} -> entry.phase in [:ready, :draining] end)
    hopeless? = not state.had_worker or state.failures >= @failures_before_circuit

    if hopeless? and not alive? do
      Directory.open_circuit(state.handle, state.last_error)
      refuse_waiting(state.handle, state.last_error)
    end

    state
  end

  # Requests that come later see the circuit (Intake.confirm_queued).
  defp refuse_waiting(handle, error) do
    case Queue.pop(handle) do
      nil ->
        :ok

      id ->
        Pending.finish(handle, id, error)
        refuse_waiting(handle, error)
    end
  end

  # --- what a dead worker leaves

  defp exit_of(_entry, {:shutdown, {:exited, exit, running}}), do: {exit, running}
  defp exit_of(_entry, {:shutdown, _in_order}), do: {unknown_exit(nil), Running.none()}

  # The worker's process itself crashed or was killed: Python may still be there.
  defp exit_of(entry, _crash) do
    if entry.os_pid, do: OSProcess.signal(entry.os_pid, :kill)
    {unknown_exit(entry.os_pid), :unknown}
  end

  defp unknown_exit(os_pid), do: %{status: nil, cause: nil, os_pid: os_pid, output: []}

  defp collect(handle, slot, entry, {exit, running}) do
    {lost, unbegun} =
      handle
      |> Pending.in_slot(slot, entry.generation)
      |> Enum.split_with(fn {id, kind} ->
        kind != :window or Running.begun?(running, id) or not waited_for?(handle, id)
      end)

    # Those that are nested in others have the larger ids, and hear of it first.
    for {id, kind} <- Enum.sort(lost, :desc),
        do: Pending.finish(handle, id, Exit.lost(exit, lost_state(kind, id, running)))

    requeued =
      for {id, _} <- unbegun, Pending.unassign(handle, id, slot, entry.generation), do: id

    Queue.requeue(handle, requeued)
    length(lost)
  end

  defp lost_state(:beside, _id, _running), do: :running

  defp lost_state(_in_main_thread, id, running) do
    cond do
      Running.last?(running, id) -> :running
      Running.begun?(running, id) -> :ended
      true -> :waiting
    end
  end

  defp waited_for?(handle, id),
    do: Pending.member?(handle, id) and not Pending.abandoned?(handle, id)

  # --- recycling, one worker at a time

  defp enqueue_recycle(slot, state) do
    if slot == state.current or :queue.member(slot, state.recycling),
      do: state,
      else: %{state | recycling: :queue.in(slot, state.recycling)}
  end

  defp recycle_next(%{current: nil} = state) do
    case :queue.out(state.recycling) do
      {{:value, slot}, recycling} -> recycle(%{state | recycling: recycling}, slot)
      {:empty, _queue} -> tell(state, :restart, :ok)
    end
  end

  defp recycle_next(state), do: state

  defp recycle(state, slot) do
    case state.slots do
      %{^slot => %{phase: :ready}} ->
        %{close_slot(state, slot, :draining) | current: slot}

      # It is being replaced anyhow, or has gone.
      _not_ready ->
        recycle_next(state)
    end
  end

  defp recycled(%{current: slot} = state, slot, :ok), do: recycle_next(%{state | current: nil})

  # The others stay as they are: better old workers than none.
  defp recycled(%{current: slot} = state, slot, {:error, _error} = failed),
    do: tell(%{state | current: nil, recycling: :queue.new()}, :restart, failed)

  defp recycled(state, _slot, _result), do: state

  # --- who waits

  defp tell_ready(state) do
    ready? =
      Enum.all?(
        1..state.count//1,
        &match?(%{phase: phase} when phase in [:ready, :draining], state.slots[&1])
      )

    if ready?, do: tell(state, :ready, :ok), else: state
  end

  defp tell_running(%{waiting: %{running: []}} = state), do: state

  defp tell_running(state) do
    starting? = starting?(state)

    case running_workers(state) do
      _workers when starting? -> state
      [] when state.last_error != nil -> tell(state, :running, {:error, state.last_error})
      # Replaced at this moment.
      [] -> state
      workers -> tell(state, :running, {:ok, workers})
    end
  end

  defp fail_ready(state, error), do: tell(state, :ready, {:error, error})

  defp tell_empty(%{waiting: %{empty: []}} = state), do: state

  defp tell_empty(state) do
    if Pending.size(state.handle) == 0 do
      tell(state, :empty, :ok)
    else
      Process.send_after(self(), :empty?, @drain_poll_ms)
      state
    end
  end

  defp tell(state, what, reply) do
    Enum.each(state.waiting[what], &GenServer.reply(&1, reply))
    put_in(state.waiting[what], [])
  end
end
