defmodule ErlangPython.Cell.Session do
  @moduledoc false
  # The namespace in which the cells of a process run, and what of its variables both sides know.
  #
  # Kept in a Registry and not in the process's dictionary: Livebook gives a cell that is run again the dictionary
  # that it had before.

  alias ErlangPython.Context
  alias ErlangPython.Context.Binding
  alias ErlangPython.Error
  alias ErlangPython.Pool.{Configured, Manager}

  @registry ErlangPython.Cells

  @enforce_keys [:context, :own?]
  defstruct @enforce_keys

  @type t :: %__MODULE__{context: Context.t(), own?: boolean()}
  @typedoc "A value that both sides know: its digest, and Python's number for it."
  @type known :: {digest :: binary(), number :: non_neg_integer()}

  @spec child_spec(term()) :: Supervisor.child_spec()
  def child_spec(_arg), do: Registry.child_spec(keys: :unique, name: @registry)

  @doc """
  That of the given context or pool, else that to which the process is bound, else its own one in the default pool. A pool's is the
  one to which the process is bound, if that is there.
  """
  @spec fetch(keyword()) :: {:ok, t()} | {:error, Error.t()}
  def fetch(opts) do
    bound = Binding.current()

    case {opts[:context], opts[:pool], bound} do
      {%Context{} = context, _pool, _bound} -> {:ok, %__MODULE__{context: context, own?: false}}
      {nil, nil, %Context{}} -> {:ok, %__MODULE__{context: bound, own?: false}}
      {nil, pool, %Context{pool: pool}} -> {:ok, %__MODULE__{context: bound, own?: false}}
      {nil, pool, _elsewhere} -> own(pool || Configured.default())
    end
  end

  # A pool that was started anew has a new Python: whoever did that knows that the names are gone.
  defp own(pool) do
    key = {self(), :own, pool}

    with {:ok, %{counters: instance} = handle} <- Configured.fetch(pool) do
      case Registry.lookup(@registry, key) do
        [{_self, {^instance, context}}] ->
          {:ok, %__MODULE__{context: context, own?: true}}

        _none_or_of_another_pool ->
          with {:ok, context} <- open(handle) do
            put(key, {instance, context})
            {:ok, %__MODULE__{context: context, own?: true}}
          end
      end
    end
  end

  # `:shared`, so that a notebook's pool of one worker serves other calls too.
  defp open(handle) do
    # A cell has no timeout.
    options = [pool: handle.name, mode: :shared, timeout: :infinity]

    # Its worker may have ended just now; and if none can start, that says why.
    with {:error, %Error{kind: :no_workers}} <- Context.open(options),
         :ok <- Manager.await_ready(handle),
         do: Context.open(options)
  end

  @doc "The next cell begins with an empty namespace; this one's has gone."
  @spec forget(t()) :: :ok
  def forget(%{context: context} = session) do
    Registry.unregister(@registry, known_key(session))
    Registry.unregister(@registry, {self(), :own, context.pool})
    Context.close(context)
  end

  @spec known(t()) :: %{optional(String.t()) => known()}
  def known(session) do
    case Registry.lookup(@registry, known_key(session)) do
      [{_self, known}] -> known
      [] -> %{}
    end
  end

  @spec put_known(t(), %{optional(String.t()) => known()}) :: :ok
  def put_known(session, known), do: put(known_key(session), known)

  defp known_key(%{context: context}), do: {self(), :known, context.pool, context.id}

  defp put(key, value) do
    Registry.unregister(@registry, key)
    {:ok, _owner} = Registry.register(@registry, key, value)
    :ok
  end
end
