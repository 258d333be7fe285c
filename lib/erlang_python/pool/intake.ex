defmodule ErlangPython.Pool.Intake do
  @moduledoc false
  # The way of a request into the pool: to a free worker, or into the queue. Runs in the caller's process, as
  # all of these do:
  #
  #     Intake.Admission      may it come in?
  #     Intake.Beside         out of a callback, to the worker that waits for it
  #     Intake.Pinning        to the one worker that can serve it
  #     Intake.Stuck          it waits for long: is there another way?
  #     Intake.Cancellation   its caller gives up

  alias ErlangPython.Callbacks.Origin
  alias ErlangPython.Error
  alias ErlangPython.Pool.{Callers, Directory, Handle, NoPool, Pending, Queue, Slots}
  alias ErlangPython.Pool.Intake.{Admission, Beside}
  alias ErlangPython.Pool.Pending.Row

  @type request :: %{
          id: Pending.id(),
          wire: iodata(),
          dest: reference() | pid(),
          tag: term(),
          caller: pid() | nil,
          deadline: Pending.deadline()
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
    with :ok <- Admission.enter(handle, origin) do
      # A callback's process is watched already, by its reader.
      if origin do
        Beside.nest(handle, request, origin)
      else
        Callers.watch(handle, request.caller)
        submit_free(handle, request)
      end
    end
  rescue
    error in ArgumentError ->
      Handle.reraise_unless_gone(handle, error, __STACKTRACE__)
      {:error, NoPool.stopped(handle, :no)}
  end

  # Whoever comes while others queue goes behind them, but for those for whom a worker waits.
  defp submit_free(handle, request) do
    claimed = if Slots.queued(handle) > 0, do: :none, else: Slots.claim(handle)

    case claimed == :none && Origin.ancestor(handle) do
      %Origin{} = origin -> Beside.to_other_thread(handle, request, origin)
      _none -> place(handle, request, claimed)
    end
  end

  defp place(handle, request, {:ok, slot}) do
    case Directory.worker(handle, slot) do
      {generation, _worker, writer} ->
        now = System.monotonic_time(:microsecond)
        Pending.insert(handle, Row.new(request, slot, generation, now))
        send(writer, {:tx, request.wire})
        # Afterwards: whatever the worker gets before this one has been counted by then.
        place = if Slots.alone?(handle, slot), do: :alone, else: :behind
        confirm(handle, request.id, slot, generation, place)

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
        Pending.insert(handle, Row.new(request, 0, 0, 0))
        Queue.enqueue(handle, request.id)
        confirm_queued(handle, request.id)

      current ->
        Slots.add_queued(handle, -1)
        Admission.leave(handle)
        {:error, Admission.overloaded(handle, "in its queue", current - 1, max)}
    end
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
      Slots.closed?(handle) -> take_back(handle, id, NoPool.stopping(handle))
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
end
