defmodule ErlangPython.Pool.Intake.Beside do
  @moduledoc false
  # Requests that come out of a callback, to the worker which waits for that. They don't count into its window: the
  # thread that waits runs them, or one beside the main thread.

  alias ErlangPython.Callbacks.Origin
  alias ErlangPython.Error
  alias ErlangPython.Pool.{Callers, Handle, Intake, NoPool, Pending, Slots}
  alias ErlangPython.Pool.Intake.Admission
  alias ErlangPython.Pool.Pending.Row

  @doc """
  Hands over one of a process that the callback's (`origin`) has started: it runs beside the main thread. As
  `Intake.submit/3`.
  """
  @spec submit(Handle.t(), Intake.request(), Origin.t()) ::
          {:ok, Intake.place()} | {:error, Error.t()}
  def submit(handle, request, origin) do
    with :ok <- Admission.enter(handle, origin) do
      Callers.watch(handle, request.caller)
      to_other_thread(handle, request, origin)
    end
  rescue
    error in ArgumentError ->
      Handle.reraise_unless_gone(handle, error, __STACKTRACE__)
      {:error, NoPool.stopped(handle, :no)}
  end

  @doc "Into the thread that waits in the callback; where none takes it, into one beside that."
  @spec nest(Handle.t(), Intake.request(), Origin.t()) ::
          {:ok, Intake.place()} | {:error, Error.t()}
  def nest(handle, request, origin) do
    if Origin.takes_requests?(origin) do
      insert(handle, request, origin.slot, origin.generation)
      send(origin.writer, {:tx, request.wire})
      confirm(handle, request.id, origin)
    else
      to_other_thread(handle, request, origin)
    end
  end

  @spec to_other_thread(Handle.t(), Intake.request(), Origin.t()) ::
          {:ok, Intake.place()} | {:error, Error.t()}
  def to_other_thread(handle, request, origin) do
    insert(handle, request, origin.slot, origin.generation)
    send(origin.worker, {:beside, request.wire})
    confirm(handle, request.id, origin)
  end

  @doc "Writes the row of a request that only this worker can serve."
  @spec insert(Handle.t(), map(), Slots.slot(), pos_integer()) :: true
  def insert(handle, request, slot, generation) do
    Slots.add_beside(handle, slot, 1)
    now = System.monotonic_time(:microsecond)
    Pending.insert(handle, Row.new(request, -slot, generation, now))
  end

  # As `Intake.confirm`, but there is no other worker for it.
  defp confirm(handle, id, origin) do
    if Slots.generation(handle, origin.slot) != origin.generation and Pending.discard(handle, id),
      do: {:error, worker_gone()},
      else: {:ok, :beside}
  end

  @spec worker_gone() :: Error.t()
  def worker_gone do
    %Error{
      kind: :worker_exit,
      message: "the worker whose callback this call comes from has ended",
      executed: :maybe
    }
  end
end
