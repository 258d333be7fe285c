defmodule ErlangPython.Context do
  @moduledoc """
  Python state that stays: names that one request defines are there for the next.

      iex> {:ok, context} = ErlangPython.Context.open()
      iex> ErlangPython.exec("total = 40", %{}, context: context)
      :ok
      iex> ErlangPython.run("total += 2; total", %{}, context: context)
      {:ok, 42}
      iex> ErlangPython.Context.close(context)
      :ok

  A context is a namespace of its own in one worker. `:dedicated`, the default, sets that worker aside until the context is closed: nothing
  else runs there. `:shared` leaves the worker to others too, so thousands of contexts fit into a few workers.
  Imported modules belong to the worker in both modes, not to the context.

  It belongs to the process that opened it and closes when that ends; other processes may use it. If its worker
  dies, every later use is an error of kind `:context_lost`: there is never an empty namespace in silence. After it was closed
  the error is `:context_closed`.

  `ErlangPython.bind/1` and `ErlangPython.with_context/2` make a context the one that a process uses by itself.
  """

  alias ErlangPython.{Error, Timeout, UnknownOption}
  alias ErlangPython.Pool.{Configured, Contexts, Handle}

  @enforce_keys [:id, :pool, :mode]
  defstruct @enforce_keys

  @type t :: %__MODULE__{id: pos_integer(), pool: atom(), mode: mode()}
  @type mode :: :dedicated | :shared

  @default_timeout 30_000

  @doc """
  Opens a context for the calling process.

  Options: `:pool` (default `:default`), `:mode`, `:dedicated` (default) or `:shared`, and `:timeout` (default `30_000`). An error of
  kind `:no_workers` if all workers, and those of the pool's `:max_overflow`, are set aside already. Waits for a worker that is
  starting, or is replaced when it has ended what it runs, at most so many milliseconds: then the error is of kind `:timeout`.
  """
  @spec open(keyword()) :: {:ok, t()} | {:error, Error.t()}
  def open(opts \\ []) do
    %{pool: pool, mode: mode, timeout: timeout} = options!(opts)

    with {:ok, handle} <- Configured.fetch(pool),
         {:ok, id} <- Contexts.open(handle, mode, self(), timeout),
         do: {:ok, %__MODULE__{id: id, pool: pool, mode: mode}}
  end

  @doc "Closes it: its names are forgotten, a worker that was set aside is free again. `:ok` also if it was closed or lost."
  @spec close(t()) :: :ok
  def close(%__MODULE__{} = context) do
    with {:ok, handle} <- Handle.fetch(context.pool), do: Contexts.close(handle, context.id)
    :ok
  end

  def close(other), do: no_context!(other)

  @doc "Can it be used?"
  @spec alive?(t()) :: boolean()
  def alive?(%__MODULE__{} = context) do
    case Handle.fetch(context.pool) do
      {:ok, handle} -> match?({:ok, _place}, Contexts.fetch(handle, context.id))
      :error -> false
    end
  end

  def alive?(other), do: no_context!(other)

  @spec no_context!(term()) :: no_return()
  defp no_context!(other),
    do: raise(ArgumentError, "expected an ErlangPython.Context, got: #{inspect(other)}")

  @doc false
  @spec options!(keyword()) :: %{pool: atom(), mode: mode(), timeout: timeout()}
  def options!(opts) do
    unless Keyword.keyword?(opts),
      do: raise(ArgumentError, "expected options to be a keyword list, got: #{inspect(opts)}")

    defaults = %{pool: Configured.default(), mode: :dedicated, timeout: @default_timeout}

    Enum.reduce(opts, defaults, fn
      {:pool, pool}, acc when is_atom(pool) and not is_nil(pool) ->
        %{acc | pool: pool}

      {:mode, mode}, acc when mode in [:dedicated, :shared] ->
        %{acc | mode: mode}

      {:timeout, timeout}, acc ->
        %{acc | timeout: Timeout.check!(timeout)}

      {key, value}, _acc when key in [:pool, :mode] ->
        raise ArgumentError,
              "#{inspect(value)} is not a value for #{inspect(key)}: :pool is a pool's name, " <>
                ":mode :dedicated or :shared"

      {key, _value}, _acc ->
        UnknownOption.raise!("option", key, [:pool, :mode, :timeout])
    end)
  end
end
