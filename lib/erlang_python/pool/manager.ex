defmodule ErlangPython.Pool.Manager do
  @moduledoc false
  # Keeps every slot of a pool filled. Here is what it is asked and told; what it does then is in
  #
  #     Manager.State       what it knows
  #     Manager.Waiting     who waits for what, and is told when
  #     Manager.Launch      a worker starts, and its slot opens
  #     Manager.Deaths      a worker has ended, and another takes its place
  #     Manager.Settling    what a dead worker left
  #     Manager.Warnings    what the log says of deaths, and of starts that fail
  #     Manager.Replacing   workers that are to end, recycled ones one at a time
  #     Manager.Size        how many workers there are, with the extra ones
  #     Manager.Opening     contexts get a worker, and give it back
  #
  # and what is decided, without any process, in `Pool.Roster`, `Failures`, `Recycling`, `Placement`, `Overflow`, `Remains`.

  use GenServer

  alias ErlangPython.Callbacks.Origin
  alias ErlangPython.{Error, Request, Timeout}

  alias ErlangPython.Pool.{
    Audit,
    Contexts,
    Directory,
    Handle,
    NoPool,
    Queue,
    Replay,
    Roster,
    Slots
  }

  alias ErlangPython.Pool.Manager.{Deaths, Launch, Opening, Replacing, Settling, Size}
  alias ErlangPython.Pool.Manager.{State, Waiting}
  alias ErlangPython.Pool.Supervisor
  alias ErlangPython.Request.Message

  @audit_ms 1_000

  @spec start_link(Handle.t()) :: GenServer.on_start()
  def start_link(handle), do: GenServer.start_link(__MODULE__, handle)

  @doc "Waits until each worker is ready, or the first has failed to start."
  @spec await_ready(Handle.t(), timeout()) :: :ok | {:error, Error.t()}
  def await_ready(handle, timeout \\ :infinity) do
    with {:error, :timeout} <- call(handle, :await_ready, :no, Timeout.receivable(timeout)),
         do: {:error, Request.timeout(handle, :no, timeout)}
  end

  @doc "Waits until no request is open any more."
  @spec await_empty(Handle.t(), timeout()) :: :ok | :timeout | :ended
  def await_empty(handle, timeout) do
    case call(handle, :await_empty, :no, timeout) do
      :ok -> :ok
      {:error, :timeout} -> :timeout
      # Somebody else stops the pool.
      {:error, _it_has_ended} -> :ended
    end
  end

  @spec scale(Handle.t(), pos_integer()) :: :ok | {:error, Error.t()}
  def scale(handle, count), do: call(handle, {:scale, count}, :maybe)

  @doc "Replaces each worker, one at a time, between two requests."
  @spec restart(Handle.t()) :: :ok | {:error, Error.t()}
  def restart(handle), do: call(handle, :restart, :maybe)

  @doc """
  Opens a context in a worker: one with nothing else for `:dedicated`, which is then set aside; the one with the fewest
  contexts for `:shared`. Waits for workers that start, or are about to be replaced, but not for one that itself waits for the
  caller.
  """
  @spec open_context(Handle.t(), :dedicated | :shared, pid(), timeout()) ::
          {:ok, Contexts.id()} | {:error, Error.t()}
  def open_context(handle, mode, owner, timeout) do
    # The manager ends the wait: it might open one just when its caller did.
    request = {:open_context, mode, owner, Origin.callers(), timeout}

    with {:error, :timeout} <- call(handle, request, :no),
         do: {:error, Request.timeout(handle, :no, timeout)}
  end

  @doc """
  The workers that are ready, once none is starting any more; those that drain, if all that are left wait for the caller. If
  there are none, why; `:timeout` if that takes longer.
  """
  @spec running(Handle.t(), timeout()) ::
          {:ok, [Roster.running()]} | {:error, Error.t() | :timeout}
  def running(handle, timeout),
    do: call(handle, {:running, Origin.callers()}, :no, Timeout.receivable(timeout))

  @doc "Replays a request into each worker that starts from now on. Gives the workers that are ready."
  @spec replay(Handle.t(), Replay.name(), Message.packed()) ::
          {:ok, [Roster.running()]} | {:error, Error.t()}
  def replay(handle, name, packed), do: call(handle, {:replay, name, packed}, :maybe)

  @doc "No longer replays this request. Gives the workers that are ready."
  @spec forget(Handle.t(), Replay.name()) :: {:ok, [Roster.running()]} | {:error, Error.t()}
  def forget(handle, name), do: call(handle, {:forget, name}, :maybe)

  @doc "Every slot with what is known of its worker."
  @spec slots(Handle.t()) :: {:ok, [Roster.entry()]} | {:error, Error.t()}
  def slots(handle), do: call(handle, :slots, :no)

  # `executed`: what is known of a request under which the manager ends.
  defp call(handle, request, executed, timeout \\ :infinity) do
    GenServer.call(whereis(handle), request, timeout)
  catch
    :exit, {:timeout, _call} ->
      {:error, :timeout}

    :exit, {reason, _call} when reason in [:noproc, :normal, :shutdown] ->
      {:error, NoPool.stopped(handle, executed)}

    :exit, _crash ->
      {:error, NoPool.crashed(handle, executed)}
  end

  # Whoever comes first may come while the pool is being started. Its supervisor answers when all of it is there.
  defp whereis(handle) do
    with nil <- Directory.whereis(handle, :manager),
         supervisor when is_pid(supervisor) <- Supervisor.whereis(handle.name) do
      Elixir.Supervisor.count_children(supervisor)
      Directory.whereis(handle, :manager)
    end
  rescue
    error in ArgumentError ->
      Handle.reraise_unless_gone(handle, error, __STACKTRACE__)
      nil
  end

  @impl true
  def init(handle) do
    for slot <- 1..Slots.count(handle)//1, do: Slots.put_window(handle, slot, 0)
    Directory.register(handle, :manager)
    state = State.new(handle)
    audit_later()
    {:ok, state, {:continue, :start}}
  end

  @impl true
  def handle_continue(:start, %{handle: handle} = state) do
    end_orphans(state)
    Settling.settle_orphans(handle)
    {:noreply, Size.resize(state, max(Slots.size(handle), handle.options.workers))}
  end

  # Workers of an earlier manager.
  defp end_orphans(%{supervisor: supervisor}) do
    workers =
      for {_id, pid, _type, _modules} <- DynamicSupervisor.which_children(supervisor), do: pid

    Enum.each(workers, &Process.exit(&1, :shutdown))
    Enum.each(workers, &DynamicSupervisor.terminate_child(supervisor, &1))
  end

  defp audit_later, do: Process.send_after(self(), :audit, @audit_ms)

  # --- what it is asked

  @impl true
  def handle_call(:await_ready, from, state),
    do: {:noreply, state |> Waiting.add(:ready, from) |> Waiting.tell_ready()}

  def handle_call(:await_empty, from, state),
    do: {:noreply, state |> Waiting.add(:empty, from) |> Waiting.tell_empty()}

  def handle_call({:scale, count}, from, state) do
    {:noreply, state |> Size.resize(count) |> Waiting.add(:ready, from) |> Waiting.tell_ready()}
  end

  def handle_call(:restart, from, state) do
    if Roster.any?(state.roster, [:ready]),
      do: {:noreply, Replacing.restart(state, from)},
      else: handle_call(:await_ready, from, state)
  end

  def handle_call({:open_context, mode, owner, callers, timeout}, from, state),
    do: {:noreply, Opening.open(state, {from, mode, owner, callers}, timeout)}

  def handle_call({:running, callers}, from, state),
    do: {:noreply, state |> Waiting.add(:running, {from, callers}) |> Waiting.tell_running()}

  def handle_call({:replay, name, packed}, _from, state),
    do: put_replay(state, &Replay.put(&1, name, packed))

  def handle_call({:forget, name}, _from, state), do: put_replay(state, &Replay.delete(&1, name))

  def handle_call(:slots, _from, state), do: {:reply, {:ok, Map.values(state.roster)}, state}

  defp put_replay(%{handle: handle} = state, change) do
    Directory.put_replay(handle, change.(Directory.replay(handle)))
    {:reply, {:ok, Roster.running(state.roster)}, state}
  end

  # --- what it is told

  @impl true
  def handle_info({:ready, %{slot: slot} = ready}, state) do
    case Roster.fetch(state.roster, slot, ready.generation) do
      {:ok, %{phase: :starting}} -> {:noreply, ready(state, ready)}
      _drained_or_gone -> {:noreply, state}
    end
  end

  def handle_info({:DOWN, ref, :process, _worker, reason}, state) do
    case Roster.monitored(state.roster, ref) do
      nil -> {:noreply, state}
      entry -> {:noreply, Deaths.down(state, entry, reason)}
    end
  end

  def handle_info({:start, slot}, state) do
    case state.roster do
      %{^slot => %{phase: :waiting}} -> {:noreply, Launch.start(state, slot)}
      _started_or_gone -> {:noreply, state}
    end
  end

  def handle_info({:retire, slot, generation, why}, state) do
    case Roster.fetch(state.roster, slot, generation) do
      {:ok, _entry} when why == :max_requests -> {:noreply, Replacing.retire(state, slot)}
      {:ok, _entry} -> {:noreply, Replacing.recycle(state, [{slot, generation}])}
      :error -> {:noreply, state}
    end
  end

  def handle_info({:overdue, worker}, state), do: {:noreply, Replacing.overdue(state, worker)}

  def handle_info({:close_context, owner, id}, state) do
    with {{slot, generation}, mode} <- Contexts.leave(state.handle, owner, id),
         {:ok, entry} <- Roster.fetch(state.roster, slot, generation) do
      {:noreply, Opening.left(state, entry, mode)}
    else
      _left_before_or_lost -> {:noreply, state}
    end
  end

  def handle_info({:opening_over, opener}, state), do: {:noreply, Opening.give_up(state, opener)}

  def handle_info(:shrink, state), do: {:noreply, Size.shrink(state)}

  def handle_info(:empty?, state), do: {:noreply, Waiting.tell_empty(state)}

  def handle_info(:dispatch, state) do
    Queue.dispatch(state.handle)
    {:noreply, state}
  end

  def handle_info(:audit, state) do
    look = Audit.look(state.handle)
    Audit.mend(state.handle, state.look, look)
    audit_later()
    # Who waits for a worker to end may be waited for by now.
    {:noreply, %{state | look: look} |> Opening.open_waiting() |> Waiting.tell_running()}
  end

  defp ready(state, ready) do
    state
    |> Launch.ready(ready)
    |> Opening.open_waiting()
    |> Replacing.replaced(ready.slot, :ok)
    |> Waiting.tell_ready()
    |> Waiting.tell_running()
  end
end
