defmodule ErlangPython.Pool.Callers do
  @moduledoc false
  # Owns the tables of a pool, cancels the requests of callers that die, closes their streams, tells workers which objects
  # to let go, and counts casts from Python off that have ended.
  #
  # One monitor per calling process, made at its first call and kept: a monitor per call would
  # cost each call two signals. A process that waits in a call can't exit with reason `:normal`, so that
  # exit, by far the most frequent, needs no look into the pending table, unless it reads a stream.

  use GenServer

  alias ErlangPython.Callbacks.CastLimit
  alias ErlangPython.Telemetry.Events

  alias ErlangPython.Pool.{
    Contexts,
    Directory,
    Handle,
    Heir,
    Options,
    Pending,
    Queue,
    Refs,
    Releases,
    Slots,
    Streams
  }

  alias ErlangPython.Pool.Intake.{Cancellation, Pinning}

  @spec start_link(Options.t()) :: GenServer.on_start()
  def start_link(options), do: GenServer.start_link(__MODULE__, options)

  @doc "Makes sure that the death of `caller` cancels its requests."
  @spec watch(Handle.t(), pid()) :: term()
  def watch(%{callers: table} = handle, caller) do
    unless :ets.member(table, caller) do
      # The message before the row: a caller killed in between leaves no row without a monitor.
      Directory.notify(handle, :callers, {:watch, caller})
      :ets.insert(table, {caller})
    end
  end

  @impl true
  def init(options) do
    Process.flag(:trap_exit, true)

    handle = %Handle{
      name: options.name,
      id: make_ref(),
      options: options,
      pending: Pending.new(),
      queue: Queue.new(),
      callers:
        :ets.new(:callers, [:set, :public, write_concurrency: true, read_concurrency: true]),
      streams: Streams.new(),
      contexts: Contexts.new(),
      refs: Refs.new(),
      directory: Directory.new(),
      counters: Slots.new()
    }

    Directory.register(handle, :callers)
    heir = await_heir(handle)
    Events.observe(handle)
    {:ok, %{handle: handle, heir: heir, releases: Releases.new()}}
  end

  # An heir that is gone comes back at once, under its supervisor, and tells nobody.
  @heir_poll_ms 10

  # Without one nobody would find the pool.
  defp await_heir(handle) do
    case Heir.adopt(handle) do
      {:ok, heir} ->
        Process.monitor(heir)

      :error ->
        Process.sleep(@heir_poll_ms)
        await_heir(handle)
    end
  end

  # Not waited for: where the application has stopped none comes, and the pool may have to stop too.
  defp adopt(state) do
    case Heir.adopt(state.handle) do
      {:ok, heir} ->
        %{state | heir: Process.monitor(heir)}

      :error ->
        Process.send_after(self(), :adopt, @heir_poll_ms)
        %{state | heir: nil}
    end
  end

  # Each look for requests of killed callers goes through the whole pending table, so it is for as many as there are; not for
  # more, since the others wait meanwhile.
  @most_killed 1_000

  @impl true
  def handle_info({:watch, caller}, state) do
    Process.monitor(caller)
    {:noreply, state}
  end

  def handle_info({:DOWN, heir, :process, _pid, _reason}, %{heir: heir} = state),
    do: {:noreply, adopt(state)}

  def handle_info(:adopt, state), do: {:noreply, adopt(state)}

  def handle_info({:DOWN, _ref, :process, caller, :normal}, %{handle: handle} = state) do
    # A pull goes on while its reader has the items that were ready.
    if Streams.any?(handle, caller), do: cancel_all(handle, [caller])
    {:noreply, ended(state, [caller])}
  end

  def handle_info({:DOWN, _ref, :process, caller, _killed}, %{handle: handle} = state) do
    killed = [caller | more_killed(state.heir, @most_killed - 1)]
    cancel_all(handle, killed)
    {:noreply, ended(state, killed)}
  end

  def handle_info({:cast, cast}, state) do
    CastLimit.watch(cast)
    {:noreply, state}
  end

  def handle_info({:cast_ended, _ref, :process, _cast, _reason}, state) do
    Slots.add_casts(state.handle, -1)
    {:noreply, state}
  end

  def handle_info(:casts_dropped, state) do
    CastLimit.tell_later()
    {:noreply, state}
  end

  def handle_info(:tell_dropped_casts, state) do
    CastLimit.tell_dropped(state.handle)
    {:noreply, state}
  end

  def handle_info({:release, place, ids}, state), do: {:noreply, release({place, ids}, state)}

  def handle_info({{:released, place}, _end}, state) do
    {now, releases} = Releases.ended(state.releases, place)
    {:noreply, send_release(%{state | releases: releases}, place, now)}
  end

  def handle_info({:EXIT, _pid, _reason}, state), do: {:noreply, state}

  defp cancel_all(handle, callers),
    do: handle |> Pending.of_callers(callers) |> Enum.each(&Cancellation.cancel(handle, &1))

  defp more_killed(_heir, 0), do: []

  defp more_killed(heir, most) do
    receive do
      {:DOWN, ref, :process, caller, reason} when ref != heir and reason != :normal ->
        [caller | more_killed(heir, most - 1)]
    after
      0 -> []
    end
  end

  defp ended(%{handle: handle} = state, callers) do
    Enum.reduce(callers, state, fn caller, state ->
      :ets.delete(handle.callers, caller)
      # After that, see Streams.confirm.
      Streams.drop_all(handle, caller)
      Contexts.close_all(handle, caller)
      handle |> Refs.take_all(caller) |> Enum.reduce(state, &release/2)
    end)
  end

  defp release({place, ids}, state) do
    {now, releases} = Releases.add(state.releases, place, ids)
    send_release(%{state | releases: releases}, place, now)
  end

  defp send_release(state, _place, []), do: state

  # Behind the requests that use the objects.
  defp send_release(%{handle: handle} = state, {slot, generation} = place, ids) do
    part = %{
      id: Slots.next_id(handle),
      message: {:release, ids},
      dest: self(),
      tag: {:released, place},
      caller: nil
    }

    case Pinning.pin(handle, part, slot, generation) do
      :ok -> state
      {:error, _worker_gone} -> %{state | releases: Releases.forget(state.releases, place)}
    end
  end

  @impl true
  def terminate(_reason, state), do: Heir.withdraw(state.handle)
end
