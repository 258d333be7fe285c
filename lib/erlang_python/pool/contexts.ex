defmodule ErlangPython.Pool.Contexts do
  @moduledoc false
  # The open contexts of a pool: where the namespace of each is, and whose it is. A row is
  #
  #     {id, owner, slot, generation}
  #
  # from before the opener knows the id until the context is closed. One whose worker has died keeps its row, so that its
  # use tells a lost context from a closed one. Beside it stands `{{owner, id}, slot, generation, mode}`, as each caller that
  # dies is looked for among thousands of owners. Whoever closes it may be killed at any point, so it is the manager that
  # takes this row out, once, and gives the worker back.

  alias ErlangPython.Error
  alias ErlangPython.Pool.{Callers, Directory, Handle, Manager, Slots}
  alias ErlangPython.Pool.Intake.Pinning

  @type id :: pos_integer()
  @type place :: {Slots.slot(), generation :: pos_integer()}

  @spec new() :: :ets.table()
  def new, do: :ets.new(__MODULE__, [:ordered_set, :public, read_concurrency: true])

  @spec open(Handle.t(), :dedicated | :shared, pid(), timeout()) ::
          {:ok, id()} | {:error, Error.t()}
  def open(handle, mode, owner, timeout),
    do: Manager.open_context(handle, mode, owner, timeout)

  @doc "Writes the row of a new context. The death of its owner closes it, also if that has died already."
  @spec put(Handle.t(), pid(), place(), :dedicated | :shared) :: id()
  def put(handle, owner, {slot, generation}, mode) do
    id = Slots.next_id(handle)
    rows = [{id, owner, slot, generation}, {{owner, id}, slot, generation, mode}]
    :ets.insert(handle.contexts, rows)
    Callers.watch(handle, owner)
    id
  end

  @spec fetch(Handle.t(), id()) :: {:ok, place()} | {:error, Error.t()}
  def fetch(%{contexts: table} = handle, id) do
    case :ets.lookup(table, id) do
      [{_id, _owner, slot, generation}] ->
        if Slots.generation(handle, slot) == generation,
          do: {:ok, {slot, generation}},
          else: {:error, lost()}

      [] ->
        # Its pool may have been started anew.
        {:error, if(Slots.issued?(handle, id), do: closed(), else: lost())}
    end
  rescue
    error in ArgumentError ->
      Handle.reraise_unless_gone(handle, error, __STACKTRACE__)
      {:error, lost()}
  end

  @spec close(Handle.t(), id()) :: :ok
  def close(handle, id) do
    for {_id, owner, _slot, _generation} <- :ets.lookup(handle.contexts, id) do
      # First: who is killed after it has closed the context.
      Directory.notify(handle, :manager, {:close_context, owner, id})
      :ets.delete(handle.contexts, id)
    end

    :ok
  rescue
    error in ArgumentError ->
      Handle.reraise_unless_gone(handle, error, __STACKTRACE__)
  end

  @doc "In the manager: the context leaves its worker. Where that was; nil if it has left before."
  @spec leave(Handle.t(), pid(), id()) :: {place(), :dedicated | :shared} | nil
  def leave(handle, owner, id) do
    case :ets.take(handle.contexts, {owner, id}) do
      [{_key, slot, generation, mode}] ->
        :ets.delete(handle.contexts, id)
        drop(handle, id, slot, generation)
        {{slot, generation}, mode}

      [] ->
        nil
    end
  end

  # Behind the context's requests, before those of whoever comes next.
  defp drop(handle, id, slot, generation) do
    part = %{
      id: Slots.next_id(handle),
      message: {:drop_context, id},
      dest: nil,
      tag: nil,
      caller: nil
    }

    Pinning.pin(handle, part, slot, generation)
  end

  @doc "Closes those of a process that has died, and stops what they run."
  @spec close_all(Handle.t(), pid()) :: :ok
  def close_all(handle, owner) do
    ids = :ets.select(handle.contexts, [{{{owner, :"$1"}, :_, :_, :_}, [], [:"$1"]}])

    for id <- ids do
      Directory.notify(handle, :manager, {:close_context, owner, id})
      :ets.delete(handle.contexts, id)
    end

    :ok
  end

  @spec none_free() :: Error.t()
  def none_free do
    message = "all workers are set aside for contexts, or none is ready"
    %Error{kind: :no_workers, message: message, executed: :no}
  end

  @spec lost() :: Error.t()
  def lost do
    %Error{
      kind: :context_lost,
      message: "the worker that held this context has ended, and its names with it: open another",
      executed: :no
    }
  end

  @spec closed() :: Error.t()
  def closed do
    %Error{kind: :context_closed, message: "this context was closed", executed: :no}
  end
end
