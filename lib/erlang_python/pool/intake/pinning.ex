defmodule ErlangPython.Pool.Intake.Pinning do
  @moduledoc false
  # What only one worker can serve, because that holds its context, its Refs or its stream, or is meant by a broadcast. It goes
  # behind what the worker has, and never to another.
  #
  # It does not count into the worker's window, or many streams would shut other requests out. In the worker all
  # take turns: a request waits for the end of what the main thread runs, also where that waits in a callback.

  alias ErlangPython.Callbacks.Origin
  alias ErlangPython.Error
  alias ErlangPython.Pool.{Callers, Contexts, Directory, Handle, Intake, NoPool, Pending, Slots}
  alias ErlangPython.Pool.Intake.{Admission, Beside}
  alias ErlangPython.Request.Message
  alias ErlangPython.Worker.Exit

  @typedoc "As `t:Intake.request/0`, but not encoded yet. With `caller: nil` nobody's death cancels it."
  @type part :: %{
          required(:id) => Pending.id(),
          required(:message) => Message.part(),
          required(:dest) => reference() | pid() | nil,
          required(:tag) => term(),
          required(:caller) => pid() | nil,
          optional(:deadline) => Pending.deadline()
        }

  @typedoc "To the main thread, the thread that waits in the caller's callback, or a thread beside the main thread."
  @type way :: :main | :nested | :beside

  @doc "Hands over a request with a context or with Refs. As `Intake.submit/3`."
  @spec submit(Handle.t(), Intake.request(), Contexts.place(), :context | :refs) ::
          {:ok, Intake.place()} | {:error, Error.t()}
  def submit(handle, request, {slot, generation} = place, held_by) do
    with :ok <- Admission.enter(handle, nil) do
      Callers.watch(handle, request.caller)

      case Directory.worker(handle, slot) do
        {^generation, _worker, writer} ->
          Beside.insert(handle, %{request | wire: {held_by, request.wire}}, slot, generation)
          send(writer, {:tx, request.wire})

          if too_late?(handle, request.id, place),
            do: {:error, Contexts.lost()},
            else: {:ok, :pinned}

        _another_or_none ->
          Admission.leave(handle)
          {:error, Contexts.lost()}
      end
    end
  rescue
    error in ArgumentError ->
      Handle.reraise_unless_gone(handle, error, __STACKTRACE__)
      {:error, NoPool.stopped(handle, :no)}
  end

  @doc """
  Hands over a part of a stream, the end of a context, a release of Refs, or a broadcast's request for this worker. After `:ok`
  its `dest` gets its end as by `Intake.submit/3`.
  """
  @spec pin(Handle.t(), part(), Slots.slot(), pos_integer()) :: :ok | {:error, Error.t()}
  def pin(handle, part, slot, generation) do
    case Directory.worker(handle, slot) do
      {^generation, worker, writer} ->
        enter(handle, part.caller)
        hand(handle, part, {slot, generation}, worker, writer)

        if too_late?(handle, part.id, {slot, generation}),
          do: {:error, lost(part.message)},
          else: :ok

      _another_or_none ->
        {:error, lost(part.message)}
    end
  rescue
    error in ArgumentError ->
      Handle.reraise_unless_gone(handle, error, __STACKTRACE__)
      {:error, NoPool.stopped(handle, :maybe)}
  end

  # What is nobody's takes no place from anybody.
  defp enter(_handle, nil), do: :ok

  defp enter(handle, caller) do
    Callers.watch(handle, caller)
    Admission.go_on(handle)
  end

  defp hand(handle, part, {slot, generation} = place, worker, writer) do
    own = Origin.own(handle)
    way = way(place, own, Origin.at(handle, place))
    wire = Message.control(part.message, part.id, way == :nested)

    request =
      part
      |> Map.delete(:message)
      |> Map.put(:wire, kept(way, part.message, wire))
      |> Map.put_new(:deadline, nil)

    Beside.insert(handle, request, slot, generation)

    case way do
      :main -> send(writer, {:tx, wire})
      :nested -> send(own.writer, {:tx, wire})
      :beside -> send(worker, {:beside, wire})
    end
  end

  @doc """
  Which way to the worker of this place the process takes that works on the callback `own`, and for `nearest` there, which may be the
  same (pure). For whose end the main thread waits can't wait for that of the main thread.
  """
  @spec way(Contexts.place(), Origin.t() | nil, Origin.t() | nil) :: way()
  def way({slot, generation}, own, %{slot: slot, generation: generation} = nearest) do
    if nearest == own and Origin.takes_requests?(nearest), do: :nested, else: :beside
  end

  def way(_place, _own, _elsewhere_or_none), do: :main

  # As `Pool.Pending` keeps the wire of a request that is in this place.
  defp kept(:main, {:pull, _stream, _most, _trace}, wire), do: {:stream, wire}
  defp kept(:main, {:close, _stream}, wire), do: {:stream, wire}
  defp kept(:main, _another, _wire), do: :pinned
  defp kept(_nested_or_beside, _part, _wire), do: :beside

  # As in `Intake.confirm`: its worker may have died, and its rows been collected, before this one came.
  defp too_late?(handle, id, {slot, generation}),
    do: Slots.generation(handle, slot) != generation and Pending.discard(handle, id)

  defp lost({:request, _packed}), do: Exit.lost_before()
  defp lost(_of_stream), do: Exit.lost_stream()
end
