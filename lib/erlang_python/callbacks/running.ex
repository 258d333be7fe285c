defmodule ErlangPython.Callbacks.Running do
  @moduledoc false
  # The callbacks that run: one row per process, from its start to its end. Taking the row out
  # is what ends a callback, so that it has exactly one answer, or none when its request is stopped.
  #
  # The row is deleted before the answer is sent.
  #
  # The table goes when the application stops, while pools of others may still run: then no callback is found.

  alias ErlangPython.Callbacks.Origin
  alias ErlangPython.Pool.Slots

  @table __MODULE__

  @spec new() :: :ets.table()
  def new do
    :ets.new(@table, [
      :named_table,
      :public,
      :set,
      write_concurrency: true,
      read_concurrency: true
    ])
  end

  @doc "Has the application not stopped?"
  @spec there?() :: boolean()
  def there?, do: :ets.whereis(@table) != :undefined

  @doc "The calling process works on this callback now."
  @spec enter(Origin.t()) :: :ok
  def enter(%Origin{} = origin) do
    Slots.add_callbacks(origin.handle, origin.slot, 1)
    :ets.insert(@table, {self(), origin.parent, origin.handle.pending, origin})
    :ok
  end

  @doc "Ends a callback; nil if it had its end already."
  @spec take(pid()) :: Origin.t() | nil
  def take(pid) do
    case :ets.take(@table, pid) do
      [{_pid, _parent, _pool, origin}] ->
        Slots.add_callbacks(origin.handle, origin.slot, -1)
        origin

      [] ->
        nil
    end
  rescue
    ArgumentError -> nil
  end

  @spec lookup(pid()) :: Origin.t() | nil
  def lookup(pid) do
    case :ets.lookup(@table, pid) do
      [{_pid, _parent, _pool, origin}] -> origin
      [] -> nil
    end
  rescue
    ArgumentError -> nil
  end

  @doc "The callbacks on behalf of a request."
  @spec of_request(ErlangPython.Pool.Handle.t(), pos_integer()) :: [pid()]
  def of_request(%{pending: pool}, id),
    do: select([{{:"$1", id, pool, :_}, [], [:"$1"]}])

  @doc "The requests whose callbacks the threads of a worker wait for."
  @spec parents(ErlangPython.Pool.Handle.t(), Slots.slot()) :: [pos_integer()]
  def parents(%{pending: pool}, slot) do
    of_slot = {:==, {:map_get, :slot, :"$2"}, slot}

    [{{:_, :"$1", pool, :"$2"}, [of_slot, {:>, :"$1", 0}], [:"$1"]}]
    |> select()
    |> Enum.uniq()
  end

  defp select(spec) do
    :ets.select(@table, spec)
  rescue
    ArgumentError -> []
  end

  @doc "For whom a process works: nobody, if it works on no callback."
  @spec callers(pid()) :: [pid()]
  def callers(pid) do
    case lookup(pid) do
      nil -> []
      origin -> origin.callers
    end
  end

  @spec count() :: non_neg_integer()
  def count, do: :ets.info(@table, :size)
end
