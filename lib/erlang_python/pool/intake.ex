defmodule ErlangPython.Pool.Intake do
  @moduledoc false
  # The way of a request into the pool and, when its caller gives up, out of it. Runs in the
  # caller's process.

  alias ErlangPython.Callbacks.{Holding, Origin}
  alias ErlangPython.Error
  alias ErlangPython.Pool.{Callers, Contexts, Directory, Handle, Pending, Queue, Slots}
  alias ErlangPython.Request.Message
  alias ErlangPython.Worker.Exit

  @type request :: %{
          id: Pending.id(),
          wire: iodata(),
          dest: reference() | pid(),
          tag: term(),
          caller: pid() | nil,
          watch: :waiting | :always
        }

  @typedoc """
  Where a request went: to an idle worker, behind others of a worker that is still within its window, into
  the queue, to a worker whose main thread it does not need, or to the only one that can serve it, behind whatever that has.
  """
  @type place :: :alone | :behind | :queued | :beside | :pinned

  @doc """
  Hands a request to a free worker, or to the queue; one that comes out of a callback (`origin`) to the worker which
  waits for that. After `{:ok, place}` the request's `dest` gets exactly one `{tag, frames}` or `{tag, error}`, unless
  it is cancelled first.
  """
  @spec submit(Handle.t(), request(), Origin.t() | nil) :: {:ok, place()} | {:error, Error.t()}
  def submit(handle, request, origin) do
    with :ok <- check_open(handle),
         :ok <- admit(handle, origin) do
      # A callback's process is watched already, by its reader.
      if origin == nil or request.watch == :always,
        do: Callers.watch(handle, request.caller, request.watch)

      if origin, do: nest(handle, request, origin), else: submit_free(handle, request)
    end
  rescue
    error in ArgumentError ->
      if Handle.gone?(handle),
        do: {:error, stopped(handle, :no)},
        else: reraise(error, __STACKTRACE__)
  end

  # Whoever comes while others queue goes behind them, but for those for whom a worker waits.
  defp submit_free(handle, request) do
    claimed = if Slots.queued(handle) > 0, do: :none, else: Slots.claim(handle)

    case claimed == :none && Origin.ancestor(handle) do
      %Origin{} = origin -> beside(handle, request, origin)
      _none -> place(handle, request, claimed)
    end
  end

  @doc """
  Hands a request to the worker whose callback (`origin`) has started the calling process, which is not that of the
  callback itself: it runs beside the main thread.
  """
  @spec submit_beside(Handle.t(), request(), Origin.t()) :: {:ok, place()} | {:error, Error.t()}
  def submit_beside(handle, request, origin) do
    with :ok <- check_open(handle),
         :ok <- admit(handle, origin) do
      Callers.watch(handle, request.caller, request.watch)
      beside(handle, request, origin)
    end
  rescue
    error in ArgumentError ->
      if Handle.gone?(handle),
        do: {:error, stopped(handle, :no)},
        else: reraise(error, __STACKTRACE__)
  end

  # Into the thread that waits in the callback; for a coroutine's, into one beside it.
  defp nest(handle, request, %{channel: {:loop, _number}} = origin),
    do: beside(handle, request, origin)

  defp nest(handle, request, origin) do
    insert_beside(handle, request, origin)
    send(origin.writer, {:tx, request.wire})
    confirm_beside(handle, request.id, origin)
  end

  defp beside(handle, request, origin) do
    insert_beside(handle, request, origin)
    send(origin.worker, {:beside, request.wire})
    confirm_beside(handle, request.id, origin)
  end

  defp insert_beside(handle, request, %{slot: slot, generation: generation}) do
    Slots.add_beside(handle, slot, 1)
    now = System.monotonic_time(:microsecond)
    Pending.insert(handle, row(request, -slot, generation, now))
  end

  # As `confirm`, but there is no other worker for it.
  defp confirm_beside(handle, id, origin) do
    if Slots.generation(handle, origin.slot) != origin.generation and Pending.discard(handle, id),
      do: {:error, worker_gone()},
      else: {:ok, :beside}
  end

  defp worker_gone do
    %Error{
      kind: :worker_exit,
      message: "the worker whose callback this call comes from has ended",
      executed: :maybe
    }
  end

  @doc "Hands a request to the worker that holds its context or its Refs, behind what that has. It never goes to another."
  @spec submit_pinned(Handle.t(), request(), Contexts.place()) ::
          {:ok, place()} | {:error, Error.t()}
  def submit_pinned(handle, request, {slot, generation} = place) do
    with :ok <- check_open(handle),
         :ok <- admit(handle, nil) do
      Callers.watch(handle, request.caller, request.watch)

      case Directory.worker(handle, slot) do
        {^generation, _worker, writer} ->
          row = %{request | wire: {:pinned, request.wire}}
          insert_beside(handle, row, %{slot: slot, generation: generation})
          send(writer, {:tx, request.wire})
          confirm_pinned(handle, request.id, place)

        _another_or_none ->
          unless handle.options.max_concurrent == :infinity, do: Slots.add_admitted(handle, -1)
          {:error, Contexts.lost()}
      end
    end
  rescue
    error in ArgumentError ->
      if Handle.gone?(handle),
        do: {:error, stopped(handle, :no)},
        else: reraise(error, __STACKTRACE__)
  end

  defp confirm_pinned(handle, id, {slot, generation}) do
    if Slots.generation(handle, slot) != generation and Pending.discard(handle, id),
      do: {:error, Contexts.lost()},
      else: {:ok, :pinned}
  end

  @doc """
  Hands a part of a stream, or the end of a context, to the one worker that can serve it, or a request to the one that it is
  meant for. After `:ok` its `dest` gets its end as by `submit/3`; it is never given to another worker. With `caller: nil` nobody's
  death cancels it.

  It does not count into the worker's window, or many streams would shut other requests out. In the worker all
  take turns: a request waits for the end of what the main thread runs, also where that waits in a callback.
  """
  @spec pin(Handle.t(), part :: map(), Slots.slot(), pos_integer()) :: :ok | {:error, Error.t()}
  def pin(handle, %{id: id} = part, slot, generation) do
    with {^generation, worker, writer} <- Directory.worker(handle, slot) do
      watch(handle, part.caller)
      # It goes on with what was admitted; what is nobody's takes no place from anybody.
      unless handle.options.max_concurrent == :infinity or part.caller == nil,
        do: Slots.add_admitted(handle, 1)

      way = way(handle, slot, generation)
      wire = Message.control(part.message, id, way == :nested)
      request = part |> Map.delete(:message) |> Map.put(:wire, kept(way, part.message, wire))
      insert_beside(handle, request, %{slot: slot, generation: generation})

      case way do
        :main -> send(writer, {:tx, wire})
        :nested -> send(Origin.own(handle).writer, {:tx, wire})
        :beside -> send(worker, {:beside, wire})
      end

      # As in `confirm`: its worker may have died, and its rows been collected, before this one came.
      if Slots.generation(handle, slot) != generation and Pending.discard(handle, id),
        do: {:error, lost(part.message)},
        else: :ok
    else
      _another_or_none -> {:error, lost(part.message)}
    end
  rescue
    error in ArgumentError ->
      if Handle.gone?(handle),
        do: {:error, stopped(handle, :maybe)},
        else: reraise(error, __STACKTRACE__)
  end

  defp kept(:main, {:pull, _stream, _most, _trace}, wire), do: {:pinned, wire}
  defp kept(:main, _another, _wire), do: :pinned
  defp kept(_nested_or_beside, _part, _wire), do: :beside

  defp lost({:request, _packed}), do: Exit.lost_before()
  defp lost(_of_stream), do: Exit.lost_stream()

  # For whose end the main thread waits can't wait for that of the main thread.
  defp way(handle, slot, generation) do
    own = Origin.own(handle)

    case own || Origin.ancestor(handle) do
      %{slot: ^slot, generation: ^generation} = origin ->
        if origin == own and not match?({:loop, _number}, origin.channel),
          do: :nested,
          else: :beside

      _other ->
        :main
    end
  end

  @doc "Makes sure that the death of `caller`, if it is one, is seen."
  @spec watch(Handle.t(), pid() | nil) :: term()
  def watch(_handle, nil), do: :ok
  def watch(handle, caller), do: Callers.watch(handle, caller, :waiting)

  @doc """
  Takes a request back, because its caller's deadline has passed or the caller died. Answers whether
  it may have run. From now on no answer reaches `dest`.
  """
  @spec cancel(Handle.t(), Pending.id()) :: :no | :maybe
  def cancel(handle, id) do
    if Pending.take_queued(handle, id) do
      Queue.drop(handle, id)
      :no
    else
      cancel_running(handle, id)
    end
  rescue
    error in ArgumentError ->
      if Handle.gone?(handle), do: :maybe, else: reraise(error, __STACKTRACE__)
  end

  defp cancel_running(handle, id) do
    if Pending.abandon(handle, id) do
      case Pending.lookup(handle, id) do
        # Moved back to the queue since the first look.
        {_id, _dest, _tag, _caller, 0, _generation, _sent_at, _wire} ->
          cancel(handle, id)

        {_id, _dest, _tag, _caller, place, _generation, _sent_at, _wire} ->
          tell(handle, abs(place), id)

        nil ->
          :ok
      end
    end

    :maybe
  end

  defp tell(handle, slot, id) do
    with {_generation, worker, _writer} <- Directory.worker(handle, slot),
         do: send(worker, {:cancel, id})
  end

  # A worker that has not answered for so long is held up by the request that it runs, and what waits
  # behind that had better go elsewhere: twice what the window promises. A worker that is
  # merely busy answers all the time.
  @held_up_us 2_000

  @doc """
  Looks again at a request that waits: for one that was sent ahead of its turn, behind a request that takes longer than
  expected, another worker is asked for; for one in the queue of a pool that is stuck, and for one that only a stuck worker
  can serve, a thread beside the main thread. `:gone` if the pool is, so that no answer will come any more.
  """
  @spec reconsider(Handle.t(), Pending.id()) :: :gone | term()
  def reconsider(handle, id) do
    case Pending.lookup(handle, id) do
      {_id, _dest, _tag, _caller, 0, _generation, _sent_at, _wire} -> release_stuck(handle, id)
      {_id, _, _, _, slot, _, _, _} = row when slot > 0 -> rebalance(handle, row)
      {_id, _, _, _, _place, _, _, {:pinned, _wire}} = row -> release_pinned(handle, row)
      _outside_the_window_or_ended -> :ok
    end
  rescue
    error in ArgumentError ->
      cond do
        :ets.info(handle.pending) == :undefined -> :gone
        Handle.gone?(handle) -> :ok
        true -> reraise(error, __STACKTRACE__)
      end
  end

  defp rebalance(handle, {id, _dest, _tag, _caller, slot, generation, sent_at, _wire}) do
    with false <- alone?(handle, slot),
         since = max(sent_at, Slots.last_end(handle, slot)),
         true <- System.monotonic_time(:microsecond) - since >= @held_up_us,
         {^generation, worker, _writer} <- Directory.worker(handle, slot) do
      send(worker, {:rebalance, id})
    end
  end

  # Whatever the callbacks wait for may need this very request: a process that serves them may have
  # made it. So when all workers wait for Elixir and none gets on, it must not wait for them.
  @stuck_us 20_000

  defp release_stuck(handle, id) do
    slot = waiting_slot(handle)

    with {generation, worker, _writer} <- slot && Directory.worker(handle, slot),
         # Who takes it out of the queue's table owns it.
         true <- Queue.drop(handle, id) do
      Slots.add_beside(handle, slot, 1)
      now = System.monotonic_time(:microsecond)

      case Pending.assign(handle, id, -slot, generation, now) do
        {:ok, wire} ->
          send(worker, {:beside, wire})
          confirm_released(handle, id, slot, generation)

        :gone ->
          Slots.add_beside(handle, slot, -1)

        :ended ->
          :ok

        :abandoned ->
          Pending.discard(handle, id)
      end
    end
  end

  defp confirm_released(handle, id, slot, generation) do
    if Slots.generation(handle, slot) != generation,
      do: Pending.finish(handle, id, worker_gone())
  end

  # The main thread has not even read it, where it waits for a thread of its own or in an event loop.
  defp release_pinned(handle, {id, _dest, _tag, _caller, place, generation, _sent_at, pinned}) do
    {:pinned, wire} = pinned

    with true <- stuck?(handle, -place, System.monotonic_time(:microsecond)),
         {^generation, worker, _writer} <- Directory.worker(handle, -place),
         do: send(worker, {:move, id, wire})
  end

  # The worker of the callback that started this process, if there is one.
  defp waiting_slot(handle) do
    case Origin.ancestor(handle) do
      %Origin{slot: slot} -> slot
      nil -> stuck_slot(handle)
    end
  end

  defp stuck_slot(handle) do
    slots = Enum.to_list(1..Slots.count(handle)//1)
    now = System.monotonic_time(:microsecond)

    if Enum.all?(slots, &stuck?(handle, &1, now)),
      do: Enum.min_by(slots, &Slots.beside(handle, &1), fn -> nil end)
  end

  defp stuck?(handle, slot, now) do
    Slots.callbacks(handle, slot) > 0 and now - Slots.last_end(handle, slot) >= @stuck_us and
      Directory.worker(handle, slot) != nil and Holding.main_thread?(handle, slot)
  end

  @doc "What the callers of a pool that has ended are told."
  @spec stopped(Handle.t(), :no | :maybe) :: Error.t()
  def stopped(handle, executed) do
    %Error{
      kind: :no_pool,
      message: "the pool #{inspect(handle.name)} has stopped",
      executed: executed,
      details: %{pool: handle.name}
    }
  end

  @spec no_pool(atom()) :: Error.t()
  def no_pool(name) do
    %Error{
      kind: :no_pool,
      message:
        "there is no running pool #{inspect(name)}: start {ErlangPython.Pool, name: " <>
          "#{inspect(name)}} under a supervisor or add it to config :erlang_python, :pools",
      executed: :no,
      details: %{pool: name}
    }
  end

  defp check_open(handle) do
    if Slots.closed?(handle), do: {:error, stopping(handle)}, else: :ok
  end

  defp stopping(handle) do
    %Error{
      kind: :no_pool,
      message: "the pool #{inspect(handle.name)} is stopping",
      executed: :no,
      details: %{pool: handle.name}
    }
  end

  defp admit(%{options: %{max_concurrent: :infinity}}, _origin), do: :ok

  defp admit(%{options: %{max_concurrent: max}} = handle, origin) do
    case Slots.add_admitted(handle, 1) do
      current when current <= max ->
        :ok

      # The limit is for those who come anew: the request that made the callback is in already.
      current ->
        if origin || Origin.ancestor(handle) do
          :ok
        else
          Slots.add_admitted(handle, -1)
          {:error, overloaded(handle, "requests at once", current - 1, max)}
        end
    end
  end

  defp place(handle, request, {:ok, slot}) do
    case Directory.worker(handle, slot) do
      {generation, _worker, writer} ->
        now = System.monotonic_time(:microsecond)
        alone? = alone?(handle, slot)
        Pending.insert(handle, row(request, slot, generation, now))
        send(writer, {:tx, request.wire})
        confirm(handle, request.id, slot, generation, if(alone?, do: :alone, else: :behind))

      nil ->
        # The worker went between claim and look.
        Slots.release(handle, slot)
        place(handle, request, :none)
    end
  end

  defp place(handle, request, :none) do
    max = handle.options.max_queue

    case Slots.add_queued(handle, 1) do
      current when current <= max ->
        Pending.insert(handle, row(request, 0, 0, 0))
        Queue.enqueue(handle, request.id)
        confirm_queued(handle, request.id)

      current ->
        Slots.add_queued(handle, -1)
        unless handle.options.max_concurrent == :infinity, do: Slots.add_admitted(handle, -1)
        {:error, overloaded(handle, "requests in its queue", current - 1, max)}
    end
  end

  defp alone?(handle, slot),
    do: Slots.in_flight(handle, slot) + Slots.beside(handle, slot) <= 1

  defp row(request, slot, generation, sent_at) do
    {request.id, request.dest, request.tag, request.caller, slot, generation, sent_at,
     request.wire}
  end

  # When a worker dies its slot's generation moves on first and its rows are collected after: a row that
  # was inserted too late to be collected sees the new generation here.
  defp confirm(handle, id, slot, generation, place) do
    if Slots.generation(handle, slot) != generation and
         Pending.unassign(handle, id, slot, generation) do
      Slots.add_queued(handle, 1)
      Queue.enqueue(handle, id)
      confirm_queued(handle, id)
    else
      {:ok, place}
    end
  end

  # The same for a pool that closed, whose rows are collected after it was marked closed, and for one whose
  # workers can't start, where the manager gives the reason to all who wait at that time.
  defp confirm_queued(handle, id) do
    cond do
      Slots.closed?(handle) -> take_back(handle, id, stopping(handle))
      error = Directory.circuit(handle) -> take_back(handle, id, error)
      true -> {:ok, :queued}
    end
  end

  defp take_back(handle, id, error) do
    if Pending.take_queued(handle, id) do
      Queue.drop(handle, id)
      {:error, error}
    else
      {:ok, :queued}
    end
  end

  defp overloaded(handle, what, current, max) do
    %Error{
      kind: :overloaded,
      message: "the pool #{inspect(handle.name)} has #{current} #{what}, its limit is #{max}",
      executed: :no,
      details: %{current: current, max: max}
    }
  end
end
