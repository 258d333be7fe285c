defmodule ErlangPython.Pool.Streams do
  @moduledoc false
  # The streams that are open in a pool's workers: whose each is, and where its iterator lives.
  #
  # A row `{{owner, id}, slot, generation}` stands from before the open request's caller is answered until
  # its end is known or its CLOSE is under way, so at any time somebody is there to close the stream: its
  # owner, or `Pool.Callers` when the owner dies, or the reader if the answer finds nobody.

  alias ErlangPython.Error
  alias ErlangPython.Pool.{Callers, Directory, Handle, NoPool, Options, Pending, Slots}
  alias ErlangPython.Pool.Intake.Pinning

  @type t :: %{
          id: Pending.id(),
          owner: pid(),
          slot: Slots.slot(),
          generation: pos_integer()
        }

  @spec new() :: :ets.table()
  def new, do: :ets.new(__MODULE__, [:ordered_set, :public, write_concurrency: true])

  @doc "A worker says that this request has left a stream open. Before the request is taken out."
  @spec opened(Handle.t(), Pending.id(), Slots.slot(), pos_integer()) :: t()
  def opened(handle, id, slot, generation) do
    owner = Pending.caller(handle, id) || self()
    stream = %{id: id, owner: owner, slot: slot, generation: generation}
    put(handle, stream)
    stream
  end

  @doc """
  Whether the stream stays open, now that the request is taken out: it closes if nobody waits for it, or its
  owner has died. Who died or gave up before `opened/4` could not find it; who did so later does.
  """
  @spec confirm(Handle.t(), t(), dest :: reference() | pid() | nil) :: term()
  def confirm(handle, stream, nil), do: drop(handle, stream.owner, stream.id)
  # An owner that is dead already is seen to be.
  def confirm(handle, stream, _dest), do: Callers.watch(handle, stream.owner)

  @spec fetch(Handle.t(), pid(), Pending.id()) :: {:ok, t()} | :error
  def fetch(%{streams: table}, owner, id) do
    case :ets.lookup(table, {owner, id}) do
      [row] -> {:ok, stream(row)}
      [] -> :error
    end
  end

  @doc "Makes another process the owner."
  @spec give(Handle.t(), t(), pid()) :: t()
  def give(handle, stream, owner) do
    given = %{stream | owner: owner}
    put(handle, given)
    remove(handle, stream)
    # Also of an owner that is dead already, which closes it.
    Callers.watch(handle, owner)
    given
  end

  @doc "Its end has come."
  @spec remove(Handle.t(), t()) :: term()
  def remove(handle, stream), do: take(handle, stream.owner, stream.id)

  defp take(%{streams: table} = handle, owner, id) do
    rows = :ets.take(table, {owner, id})
    for {_key, slot, _generation} <- rows, do: Slots.add_streams(handle, slot, -1)
    rows
  end

  @doc "How many are open in a worker."
  @spec count(Handle.t(), Slots.slot(), pos_integer()) :: non_neg_integer()
  def count(%{streams: table}, slot, generation),
    do: :ets.select_count(table, [{{:_, slot, generation}, [], [true]}])

  @doc "The worker has ended."
  @spec lost(Handle.t(), Slots.slot(), pos_integer()) :: term()
  def lost(%{streams: table} = handle, slot, generation) do
    :ets.select_delete(table, [{{:_, slot, generation}, [], [true]}])
    Slots.reset_streams(handle, slot)
  end

  @doc "Closes the stream of a request that was given up, if it has opened one."
  @spec drop(Handle.t(), pid(), Pending.id()) :: term()
  def drop(handle, owner, id) do
    for row <- take(handle, owner, id), do: close(handle, stream(row))
  rescue
    error in ArgumentError ->
      Handle.reraise_unless_gone(handle, error, __STACKTRACE__)
  end

  @doc "Has this process any, in this worker if one is given?"
  @spec any?(Handle.t(), pid(), {Slots.slot(), generation :: pos_integer()} | {:_, :_}) ::
          boolean()
  def any?(%{streams: table}, owner, {slot, generation} \\ {:_, :_}) do
    pattern = {{{owner, :_}, slot, generation}, [], [true]}
    :ets.select(table, [pattern], 1) != :"$end_of_table"
  end

  @doc "Closes all streams of a process that has died."
  @spec drop_all(Handle.t(), pid()) :: term()
  def drop_all(%{streams: table} = handle, owner) do
    ids = :ets.select(table, [{{{owner, :"$1"}, :_, :_}, [], [:"$1"]}])
    Enum.each(ids, &drop(handle, owner, &1))
  end

  @doc """
  Sends CLOSE, and gives its id. `dest` gets `{tag, end}` as for any request, or `{tag, :later}` if the worker is busy with
  another request for longer than the pool's `:grace`. A close that takes longer itself is
  interrupted, and the worker replaced if that does not help. Nobody's death takes it back.
  """
  @spec close(Handle.t(), t(), reference() | nil) :: {:ok, Pending.id()} | {:error, Error.t()}
  def close(%{options: %Options{} = options} = handle, stream, dest \\ nil) do
    id = Slots.next_id(handle)
    part = %{id: id, message: {:close, stream.id}, dest: dest, tag: dest, caller: nil}
    sent = Pinning.pin(handle, part, stream.slot, stream.generation)

    # Only now: a worker that drains must see the one or the other.
    remove(handle, stream)

    with :ok <- sent, {_generation, worker, _writer} <- Directory.worker(handle, stream.slot) do
      Process.send_after(worker, {:close_due, id}, options.grace)
      {:ok, id}
    else
      nil -> {:ok, id}
      {:error, error} -> {:error, error}
    end
  rescue
    error in ArgumentError ->
      Handle.reraise_unless_gone(handle, error, __STACKTRACE__)
      {:error, NoPool.stopped(handle, :maybe)}
  end

  defp put(%{streams: table} = handle, stream) do
    :ets.insert(table, {{stream.owner, stream.id}, stream.slot, stream.generation})
    Slots.add_streams(handle, stream.slot, 1)
  end

  defp stream({{owner, id}, slot, generation}),
    do: %{id: id, owner: owner, slot: slot, generation: generation}
end
