defmodule ErlangPython.Pool.Refs do
  @moduledoc false
  # The objects that a pool's workers keep for `ErlangPython.Ref`: whose each is, and where it lives.
  #
  # A row `{{owner, id}, slot, generation}` stands from before the caller has its Ref until the object's release is with
  # `Pool.Callers`, or its worker has ended. So at any time somebody is there to release it: its owner, or `Pool.Callers` when the
  # owner dies, or the reader if the answer finds nobody. `id` is that of the request which kept the object.

  alias ErlangPython.Error
  alias ErlangPython.Pool.{Callers, Contexts, Directory, Handle, Pending, Slots}
  alias ErlangPython.Ref
  alias ErlangPython.Request.Options

  @type kept :: %{id: Pending.id(), owner: pid()}

  @typedoc "A Ref among the arguments of a request, and what says where it stands."
  @type passed :: {Ref.t(), (... -> String.t())}

  @spec new() :: :ets.table()
  def new, do: :ets.new(__MODULE__, [:ordered_set, :public, write_concurrency: true])

  # --- from the answer to the Ref

  @doc "A worker says that it has kept this request's value. Before the request is taken out."
  @spec opened(Handle.t(), Pending.id(), Slots.slot(), pos_integer()) :: kept()
  def opened(handle, id, slot, generation) do
    owner = Pending.caller(handle, id) || self()
    :ets.insert(handle.refs, {{owner, id}, slot, generation})
    %{id: id, owner: owner}
  end

  @doc "Whether it stays, now that the request is taken out; as `Pool.Streams.confirm/3`."
  @spec confirm(Handle.t(), kept(), dest :: reference() | pid() | nil) :: term()
  def confirm(handle, kept, nil), do: drop(handle, kept.owner, kept.id)
  def confirm(handle, kept, _dest), do: Callers.watch(handle, kept.owner)

  @doc "The Ref of the calling process's request."
  @spec made(Handle.t(), Pending.id(), name :: binary(), type :: String.t()) ::
          {:ok, Ref.t()} | {:error, Error.t()}
  def made(%{refs: table} = handle, id, name, type) do
    case :ets.lookup(table, {self(), id}) do
      [{_key, slot, generation}] ->
        {:ok,
         %Ref{
           id: id,
           name: name,
           type: type,
           owner: self(),
           pool: handle.name,
           pool_id: handle.id,
           slot: slot,
           generation: generation
         }}

      # Its worker has died since.
      [] ->
        {:error, %{lost() | executed: :yes}}
    end
  end

  @doc "Makes another process the owner of what a request of the calling process has made, if that is a Ref."
  @spec give({:ok, term()} | {:error, Error.t()}, pid()) :: {:ok, term()} | {:error, Error.t()}
  def give({:ok, %Ref{} = ref}, owner) do
    with {:ok, handle, {slot, generation}} <- fetch(ref) do
      :ets.insert(handle.refs, {{owner, ref.id}, slot, generation})
      :ets.delete(handle.refs, {ref.owner, ref.id})
      # Also of an owner that is dead already, which releases it.
      Callers.watch(handle, owner)
      {:ok, %{ref | owner: owner}}
    end
  rescue
    # The pool has ended.
    ArgumentError -> {:error, lost()}
  end

  def give(other, _owner), do: other

  # --- from the Ref to its worker

  @doc """
  Where a request must go that carries these Refs: the pool and the worker. `handle` and `options` say where it would go without
  them, and have the last word if the request names its place.
  """
  @spec place([passed()], Handle.t(), Options.t()) ::
          {:ok, Handle.t(), Contexts.place()} | {:error, Error.t()}
  def place([{ref, where} | others], handle, options) do
    with {:ok, target, place} <- fetch(ref),
         :ok <- check_others(others, ref),
         :ok <- check_pool(target, handle, options, ref, where),
         :ok <- check_context(handle, options.context, place, ref, where),
         do: {:ok, target, place}
  end

  defp check_others(others, ref) do
    Enum.reduce_while(others, :ok, fn {other, where}, :ok ->
      with {:ok, _handle, _place} <- fetch(other), true <- same_worker?(other, ref) do
        {:cont, :ok}
      else
        false -> {:halt, {:error, apart(other, where, "another Ref of the request is of", ref)}}
        {:error, error} -> {:halt, {:error, error}}
      end
    end)
  end

  defp same_worker?(one, other), do: place_of(one) == place_of(other)
  defp place_of(ref), do: {ref.pool_id, ref.slot, ref.generation}

  # Only a request that names no place of its own follows its Refs to another pool.
  defp check_pool(%{id: id}, %{id: id}, _options, _ref, _where), do: :ok
  defp check_pool(_target, _handle, %{placed?: false, context: nil}, _ref, _where), do: :ok

  defp check_pool(_target, handle, _options, ref, where),
    do: {:error, apart(ref, where, "the request is for the pool #{inspect(handle.name)}")}

  defp check_context(_handle, nil, _place, _ref, _where), do: :ok

  defp check_context(handle, context, place, ref, where) do
    with {:ok, of_context} <- Contexts.fetch(handle, context.id) do
      if of_context == place,
        do: :ok,
        else: {:error, apart(ref, where, "the request's context is in #{worker(of_context)}")}
    end
  end

  @doc "Its pool and its worker."
  @spec fetch(Ref.t()) :: {:ok, Handle.t(), Contexts.place()} | {:error, Error.t()}
  def fetch(%Ref{pool_id: pool_id} = ref) do
    with :ok <- check_node(pool_id),
         {:ok, %{id: ^pool_id} = handle} <- Handle.fetch(ref.pool) do
      fetch(handle, ref)
    else
      {:error, error} -> {:error, error}
      # It has stopped; another one of this name may have been started.
      _no_such_pool -> {:error, lost()}
    end
  end

  defp fetch(handle, %{slot: slot, generation: generation} = ref) do
    cond do
      Slots.generation(handle, slot) != generation -> {:error, lost()}
      :ets.member(handle.refs, {ref.owner, ref.id}) -> {:ok, handle, {slot, generation}}
      true -> {:error, released()}
    end
  rescue
    error in ArgumentError ->
      Handle.reraise_unless_gone(handle, error, __STACKTRACE__)
      {:error, lost()}
  end

  defp check_node(pool_id) do
    if node(pool_id) == node() do
      :ok
    else
      message = "this Ref is of the node #{node(pool_id)}, and its object can be used only there"
      {:error, refused("the request", message)}
    end
  end

  @doc "The pool of the first Ref in a term; only asked where a pool would be started for it."
  @spec pool_in(term()) :: atom()
  def pool_in(%Ref{pool: pool}), do: pool
  def pool_in([head | tail]), do: pool_in(head) || pool_in(tail)
  def pool_in(tuple) when is_tuple(tuple), do: tuple |> Tuple.to_list() |> pool_in()
  def pool_in(map) when is_map(map) and not is_struct(map), do: map |> Map.to_list() |> pool_in()
  def pool_in(_other), do: nil

  # --- release

  @spec release(Ref.t()) :: :ok
  def release(%Ref{} = ref) do
    case fetch(ref) do
      {:ok, handle, _place} -> drop(handle, ref.owner, ref.id)
      {:error, %{kind: kind}} when kind in [:context_closed, :context_lost] -> :ok
      {:error, error} -> raise error
    end

    :ok
  end

  @doc "Lets go what a request has kept that was given up, if it has."
  @spec drop(Handle.t(), pid(), Pending.id()) :: term()
  def drop(%{refs: table} = handle, owner, id) do
    for {_key, slot, generation} <- :ets.lookup(table, {owner, id}) do
      Directory.notify(handle, :callers, {:release, {slot, generation}, [id]})
      :ets.delete(table, {owner, id})
    end
  rescue
    error in ArgumentError ->
      Handle.reraise_unless_gone(handle, error, __STACKTRACE__)
  end

  @doc "Takes all of a process that has died, by worker, to be released."
  @spec take_all(Handle.t(), pid()) :: %{Contexts.place() => [Pending.id()]}
  def take_all(%{refs: table}, owner) do
    case :ets.select(table, [{{{owner, :"$1"}, :"$2", :"$3"}, [], [{{:"$1", :"$2", :"$3"}}]}]) do
      [] ->
        %{}

      rows ->
        :ets.select_delete(table, [{{{owner, :_}, :_, :_}, [], [true]}])
        Enum.group_by(rows, fn {_, slot, generation} -> {slot, generation} end, &elem(&1, 0))
    end
  end

  @doc "The worker has ended."
  @spec lost(Handle.t(), Slots.slot(), pos_integer()) :: term()
  def lost(%{refs: table}, slot, generation),
    do: :ets.select_delete(table, [{{:_, slot, generation}, [], [true]}])

  @doc "Does the worker keep any?"
  @spec any?(Handle.t(), Slots.slot(), pos_integer()) :: boolean()
  def any?(%{refs: table}, slot, generation),
    do: :ets.select(table, [{{:_, slot, generation}, [], [true]}], 1) != :"$end_of_table"

  # --- errors

  @spec lost() :: Error.t()
  def lost do
    %Error{
      kind: :context_lost,
      message: "the worker that held the object of this Ref has ended, and the object with it",
      executed: :no
    }
  end

  @spec released() :: Error.t()
  def released do
    %Error{
      kind: :context_closed,
      message: "this Ref was released, or the process that owned it has ended",
      executed: :no
    }
  end

  @doc "A request for all workers carries one."
  @spec in_broadcast([passed()]) :: Error.t()
  def in_broadcast([{_ref, where} | _others]) do
    refused(where.(), "a Ref is of one worker, and can't be sent to all")
  end

  defp apart(ref, where, but, other),
    do: apart(ref, where, "#{but} #{worker({other.slot, other.generation})} of #{pool(other)}")

  defp apart(ref, where, but) do
    refused(
      where.(),
      "this Ref is of #{worker({ref.slot, ref.generation})} of #{pool(ref)}, but #{but}: " <>
        "pass the value instead (ErlangPython.Ref.value/2)"
    )
  end

  defp worker({slot, _generation}), do: "worker #{slot}"
  defp pool(ref), do: "the pool #{inspect(ref.pool)}"

  defp refused(path, message) do
    %Error{
      kind: :encode,
      message: "#{path}: #{message}",
      executed: :no,
      details: %{path: path}
    }
  end
end
