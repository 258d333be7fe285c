defmodule ErlangPython.State.Table do
  @moduledoc false
  # The table of the shared state, and the process that owns it.
  #
  # Without a limit every process writes by itself. With one the owner writes for all, as only one writer can
  # know what the table holds. The limit is read when the owner starts.

  use GenServer

  alias ErlangPython.{Error, Settings}
  alias ErlangPython.Pool.Configured

  @table __MODULE__
  @limited {__MODULE__, :limited}

  @spec start_link(term()) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @spec fetch(term()) :: {:ok, term()} | :error
  def fetch(key) do
    case :ets.lookup(@table, key) do
      [{_key, value}] -> {:ok, value}
      [] -> :error
    end
  rescue
    error in ArgumentError -> no_table!(error, __STACKTRACE__)
  end

  @spec keys() :: [term()]
  def keys do
    :ets.select(@table, [{{:"$1", :_}, [], [:"$1"]}])
  rescue
    error in ArgumentError -> no_table!(error, __STACKTRACE__)
  end

  @spec put(term(), term()) :: :ok | {:error, Error.t()}
  def put(key, value), do: write({:put, key, value})

  @spec delete(term()) :: :ok
  def delete(key), do: write({:delete, key})

  @spec clear() :: :ok
  def clear, do: write(:clear)

  @doc "Adds to an integer, 0 if the key is not there. An error if the value is none, or a limit is in the way."
  @spec add(term(), integer()) :: {:ok, integer()} | {:error, String.t() | Error.t()}
  def add(key, by), do: write({:add, key, by})

  defp write(change) do
    if :persistent_term.get(@limited),
      do: GenServer.call(__MODULE__, change, :infinity),
      else: apply_to_table(change)
  rescue
    error in ArgumentError -> no_table!(error, __STACKTRACE__)
  end

  @spec no_table!(Exception.t(), Exception.stacktrace()) :: no_return()
  defp no_table!(error, stacktrace) do
    Configured.check_application!()
    reraise error, stacktrace
  end

  defp apply_to_table({:put, key, value}) do
    :ets.insert(@table, {key, value})
    :ok
  end

  defp apply_to_table({:delete, key}) do
    :ets.delete(@table, key)
    :ok
  end

  defp apply_to_table(:clear) do
    :ets.delete_all_objects(@table)
    :ok
  end

  defp apply_to_table({:add, key, by}) do
    {:ok, :ets.update_counter(@table, key, {2, by}, {key, 0})}
  rescue
    ArgumentError ->
      Configured.check_application!()
      {:error, "the value of #{inspect(key)} is no integer"}
  end

  # --- the owner

  @impl true
  def init(nil) do
    limit = limit!(Application.get_env(:erlang_python, :state_limit, :infinity))

    :ets.new(@table, [
      :named_table,
      :public,
      :set,
      read_concurrency: true,
      write_concurrency: true
    ])

    :persistent_term.put(@limited, limit != :infinity)
    {:ok, %{limit: limit, total: 0}}
  end

  defp limit!(:infinity), do: :infinity
  defp limit!(bytes) when is_integer(bytes) and bytes > 0, do: bytes

  defp limit!(other),
    do: Settings.expected!(:state_limit, "a positive integer (bytes) or :infinity", other)

  @impl true
  def handle_call(:clear, _from, state),
    do: {:reply, apply_to_table(:clear), %{state | total: 0}}

  def handle_call(change, _from, state) do
    key = elem(change, 1)
    others = state.total - size(key)

    case check(others, change, state.limit) do
      :ok ->
        result = apply_to_table(change)
        {:reply, result, %{state | total: others + size(key)}}

      {:error, error} ->
        {:reply, {:error, error}, state}
    end
  end

  # Of a counter only what it takes at first: it grows by a byte now and then.
  defp check(others, {:put, key, value}, limit), do: check_total(others + size(key, value), limit)
  defp check(others, {:add, key, _by}, limit), do: check_total(others + size(key, 0), limit)
  defp check(_others, {:delete, _key}, _limit), do: :ok

  defp check_total(total, limit) when total <= limit, do: :ok

  defp check_total(total, limit) do
    {:error,
     %Error{
       kind: :too_large,
       message: "the shared state would take #{total} bytes, :state_limit is #{limit}",
       executed: :no,
       details: %{size: total, limit: limit}
     }}
  end

  defp size(key) do
    case fetch(key) do
      {:ok, value} -> size(key, value)
      :error -> 0
    end
  end

  # Not the table's own memory: large binaries stand outside of it.
  defp size(key, value), do: :erlang.external_size({key, value})
end
