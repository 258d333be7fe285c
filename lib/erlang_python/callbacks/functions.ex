defmodule ErlangPython.Callbacks.Functions do
  @moduledoc false
  # The functions that Python may call, by name.

  alias ErlangPython.Pool.Configured
  alias ErlangPython.UnknownOption

  @table __MODULE__

  @typedoc "The face says how values convert, and whether the arguments come one by one or as a list."
  @type entry :: %{
          function: function() | {module(), atom()},
          face: :elixir | :erlang,
          kwargs: boolean()
        }

  @spec new() :: :ets.table()
  def new, do: :ets.new(@table, [:named_table, :public, :set, read_concurrency: true])

  @spec put(String.t(), entry()) :: :ok
  def put(name, entry) do
    Configured.check_application!()
    :ets.insert(@table, {name, entry})
    :ok
  end

  @spec delete(String.t()) :: :ok
  def delete(name) do
    Configured.check_application!()
    :ets.delete(@table, name)
    :ok
  end

  @spec fetch(String.t()) :: {:ok, entry()} | :error
  def fetch(name) do
    case :ets.lookup(@table, name) do
      [{_name, entry}] -> {:ok, entry}
      [] -> :error
    end
  end

  @spec member?(String.t()) :: boolean()
  def member?(name), do: :ets.member(@table, name)

  @spec names() :: [String.t()]
  def names do
    Configured.check_application!()
    @table |> :ets.select([{{:"$1", :_}, [], [:"$1"]}]) |> Enum.sort()
  end

  @doc "The entry of `ErlangPython.register/3`. Raises `ArgumentError` for what can't be called."
  @spec new!(term(), keyword()) :: entry()
  def new!(function, opts) do
    unless Keyword.keyword?(opts),
      do: raise(ArgumentError, "expected options to be a keyword list, got: #{inspect(opts)}")

    for {key, _value} <- opts, key != :kwargs, do: UnknownOption.raise!("option", key, [:kwargs])
    kwargs = Keyword.get(opts, :kwargs, false)

    unless is_boolean(kwargs),
      do: raise(ArgumentError, "expected :kwargs to be a boolean, got: #{inspect(kwargs)}")

    if kwargs and is_function(function, 0) do
      raise ArgumentError,
            "with kwargs: true the last argument is their map, but the function takes none"
    end

    %{function: check(function), face: :elixir, kwargs: kwargs}
  end

  defp check(function) when is_function(function), do: function
  defp check({m, f} = function) when is_atom(m) and is_atom(f), do: function

  defp check(other) do
    raise ArgumentError,
          "expected a function or {module, function}, got: #{inspect(other)}"
  end
end
