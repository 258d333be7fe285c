defmodule ErlangPython.Pool.Directory do
  @moduledoc false
  # Who is who in a pool: the processes behind each slot, the manager, the router's endpoint,
  # the tokens that starting workers will prove, what the last worker said of its Python, and
  # the error of an open circuit.

  alias ErlangPython.Error
  alias ErlangPython.Pool.{Handle, Replay, Slots}

  @type worker :: %{
          slot: Slots.slot(),
          generation: pos_integer(),
          worker: pid(),
          writer: pid(),
          os_pid: pos_integer() | nil,
          hello: %{String.t() => term()},
          replay: Replay.t()
        }

  @spec new() :: :ets.table()
  def new, do: :ets.new(__MODULE__, [:set, :public, read_concurrency: true])

  @spec put_worker(Handle.t(), worker()) :: true
  def put_worker(%{directory: table}, %{slot: slot} = worker),
    do: :ets.insert(table, {slot, worker.generation, worker.worker, worker.writer})

  @spec delete_worker(Handle.t(), Slots.slot()) :: true
  def delete_worker(%{directory: table}, slot), do: :ets.delete(table, slot)

  @spec worker(Handle.t(), Slots.slot()) :: {pos_integer(), pid(), writer :: pid()} | nil
  def worker(%{directory: table}, slot) do
    case :ets.lookup(table, slot) do
      [{_slot, generation, worker, writer}] -> {generation, worker, writer}
      [] -> nil
    end
  end

  @type part :: :callers | :manager

  @doc "Sends to a part of the pool, if it is there (a part that restarts catches up by itself)."
  @spec notify(Handle.t(), part(), term()) :: :ok
  def notify(handle, part, message) do
    with pid when is_pid(pid) <- whereis(handle, part), do: send(pid, message)
    :ok
  end

  @spec register(Handle.t(), part()) :: true
  def register(%{directory: table}, part), do: :ets.insert(table, {part, self()})

  @spec whereis(Handle.t(), part()) :: pid() | nil
  def whereis(%{directory: table}, part) do
    case :ets.lookup(table, part) do
      [{_part, pid}] -> pid
      [] -> nil
    end
  end

  @spec put_token(Handle.t(), binary(), pid()) :: true
  def put_token(%{directory: table}, token, worker),
    do: :ets.insert(table, {{:token, token}, worker})

  @spec delete_token(Handle.t(), binary()) :: true
  def delete_token(%{directory: table}, token), do: :ets.delete(table, {:token, token})

  @spec token_owner(Handle.t(), binary()) :: pid() | nil
  def token_owner(%{directory: table}, token) do
    case :ets.lookup(table, {:token, token}) do
      [{_token, pid}] -> pid
      [] -> nil
    end
  end

  @spec put_router(Handle.t(), pid(), endpoint :: String.t(), folder :: Path.t()) :: true
  def put_router(%{directory: table}, router, endpoint, folder),
    do: :ets.insert(table, [{:router, router}, {:endpoint, endpoint}, {:folder, folder}])

  @spec router(Handle.t()) :: pid()
  def router(%{directory: table}), do: :ets.lookup_element(table, :router, 2)

  @spec endpoint(Handle.t()) :: String.t()
  def endpoint(%{directory: table}), do: :ets.lookup_element(table, :endpoint, 2)

  @doc "The pool's private folder of small files: the socket, and what workers have begun."
  @spec folder(Handle.t()) :: Path.t()
  def folder(%{directory: table}), do: :ets.lookup_element(table, :folder, 2)

  @spec put_hello(Handle.t(), map()) :: true
  def put_hello(%{directory: table}, hello), do: :ets.insert(table, {:hello, hello})

  @spec hello(Handle.t()) :: map() | nil
  def hello(%{directory: table}) do
    case :ets.lookup(table, :hello) do
      [{:hello, hello}] -> hello
      [] -> nil
    end
  end

  @doc "Written by the manager alone."
  @spec put_replay(Handle.t(), Replay.t()) :: true
  def put_replay(%{directory: table}, replay), do: :ets.insert(table, {:replay, replay})

  @spec replay(Handle.t()) :: Replay.t()
  def replay(%{directory: table}) do
    case :ets.lookup(table, :replay) do
      [{:replay, replay}] -> replay
      [] -> Replay.new()
    end
  end

  @doc "While a circuit is open, requests that find no worker fail with its error at once."
  @spec open_circuit(Handle.t(), Error.t()) :: true
  def open_circuit(%{directory: table}, error), do: :ets.insert(table, {:circuit, error})

  @spec close_circuit(Handle.t()) :: true
  def close_circuit(%{directory: table}), do: :ets.delete(table, :circuit)

  @spec circuit(Handle.t()) :: Error.t() | nil
  def circuit(%{directory: table}) do
    case :ets.lookup(table, :circuit) do
      [{:circuit, error}] -> error
      [] -> nil
    end
  end
end
