defmodule ErlangPython.State.Table do
  @moduledoc false
  # The table of the shared state, and the process that owns it, which does nothing else.

  use GenServer

  alias ErlangPython.Error

  @table __MODULE__

  @spec start_link(term()) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @impl true
  def init(nil) do
    :ets.new(@table, [
      :named_table,
      :public,
      :set,
      read_concurrency: true,
      write_concurrency: true
    ])

    {:ok, nil}
  end

  @spec fetch(term()) :: {:ok, term()} | :error
  def fetch(key) do
    case :ets.lookup(@table, key) do
      [{_key, value}] -> {:ok, value}
      [] -> :error
    end
  end

  @spec put(term(), term()) :: :ok | {:error, Error.t()}
  def put(key, value) do
    with :ok <- check_limit(key, value, Application.get_env(:erlang_python, :state_limit)) do
      :ets.insert(@table, {key, value})
      :ok
    end
  end

  defp check_limit(_key, _value, limit) when limit in [nil, :infinity], do: :ok

  # Large binaries are counted too, although the table only refers to them.
  defp check_limit(key, value, limit) do
    memory = :ets.info(@table, :memory) * :erlang.system_info(:wordsize)

    case memory + :erlang.external_size({key, value}) do
      size when size <= limit -> :ok
      size -> {:error, too_large(size, limit)}
    end
  end

  defp too_large(size, limit) do
    %Error{
      kind: :too_large,
      message: "the shared state would take #{size} bytes, :state_limit is #{limit}",
      executed: :no,
      details: %{size: size, limit: limit}
    }
  end

  @spec delete(term()) :: :ok
  def delete(key) do
    :ets.delete(@table, key)
    :ok
  end

  @spec keys() :: [term()]
  def keys, do: :ets.select(@table, [{{:"$1", :_}, [], [:"$1"]}])

  @spec clear() :: :ok
  def clear do
    :ets.delete_all_objects(@table)
    :ok
  end

  @doc "Adds to an integer, 0 if the key is not there. An error if the value is none."
  @spec add(term(), integer()) :: {:ok, integer()} | {:error, String.t()}
  def add(key, by) do
    {:ok, :ets.update_counter(@table, key, {2, by}, {key, 0})}
  rescue
    ArgumentError -> {:error, "the value of #{inspect(key)} is no integer"}
  end
end
