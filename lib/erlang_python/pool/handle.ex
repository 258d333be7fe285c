defmodule ErlangPython.Pool.Handle do
  @moduledoc false
  # What every caller of a pool needs, in one :persistent_term: tables and counters, made once
  # when the pool starts and never replaced, so that a call asks no process for anything.

  alias ErlangPython.Pool.Options

  @enforce_keys [
    :name,
    # Of this pool and no later one of its name.
    :id,
    :options,
    :pending,
    :queue,
    :callers,
    :streams,
    :contexts,
    :refs,
    :directory,
    :counters
  ]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          name: atom(),
          id: reference(),
          options: Options.t(),
          pending: :ets.table(),
          queue: :ets.table(),
          callers: :ets.table(),
          streams: :ets.table(),
          contexts: :ets.table(),
          refs: :ets.table(),
          directory: :ets.table(),
          counters: :atomics.atomics_ref()
        }

  @spec fetch(atom()) :: {:ok, t()} | :error
  def fetch(name) do
    case :persistent_term.get({__MODULE__, name}, nil) do
      nil -> :error
      handle -> {:ok, handle}
    end
  end

  @doc "What the log calls a worker."
  @spec worker_name(t(), pos_integer()) :: String.t()
  def worker_name(%{name: name}, slot), do: "#{name}-#{slot}"

  # Only the heir puts and takes names, so that to look and to take is one step.

  @spec publish(t()) :: :ok
  def publish(handle), do: :persistent_term.put({__MODULE__, handle.name}, handle)

  @doc "Those of all pools, in no order; this looks at each persistent term."
  @spec published() :: [t()]
  def published, do: for({{__MODULE__, _name}, handle} <- :persistent_term.get(), do: handle)

  @spec tables(t()) :: [:ets.table()]
  def tables(handle),
    do: [
      handle.pending,
      handle.queue,
      handle.callers,
      handle.streams,
      handle.contexts,
      handle.refs,
      handle.directory
    ]

  @doc """
  Has the pool ended? Its tables go with it, at any moment; the pending table last, when the heir has ended
  all that is in it. A caller whose row came even later finds out by itself.
  """
  @spec gone?(t()) :: boolean()
  def gone?(handle), do: Enum.any?(tables(handle), &(:ets.info(&1) == :undefined))

  @doc """
  For the rescue of what reads a pool's tables: comes back if the pool has ended, and raises the error again if that has
  another reason.
  """
  @spec reraise_unless_gone(t(), Exception.t(), Exception.stacktrace()) :: :ok
  def reraise_unless_gone(handle, error, stacktrace),
    do: if(gone?(handle), do: :ok, else: reraise(error, stacktrace))

  @doc "Takes the pool's name away, unless a later pool of that name has put its own there."
  @spec withdraw(t()) :: :ok
  def withdraw(handle) do
    with {:ok, ^handle} <- fetch(handle.name),
         do: :persistent_term.erase({__MODULE__, handle.name})

    :ok
  end
end
