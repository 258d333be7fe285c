defmodule ErlangPython.State do
  @moduledoc """
  Values that Elixir and all Python workers share.

      iex> ErlangPython.State.put("greeting", "hello")
      :ok
      iex> ErlangPython.eval("erlang.state_get('greeting')")
      {:ok, "hello"}
      iex> ErlangPython.State.incr("hits")
      1
      iex> ErlangPython.eval("erlang.state_incr('hits', 10)")
      {:ok, 11}

  Keys and values are any terms, kept as they are: what Elixir puts it gets back unchanged, a pid or an atom
  too. What Python puts and gets converts as arguments and results do ([Types](types.md)); an atom key is
  `erlang.Atom("name")` in Python, a string is not the same key.

  Values live in this node's memory until they are deleted. `config :erlang_python, state_limit: bytes` bounds what all
  keys and values take together, counted as in Erlang's external format: what goes beyond is refused.
  [Shared state](shared-state.md) says more.
  """

  alias ErlangPython.Error
  alias ErlangPython.State.Table

  @doc "The value of a key, or `default`."
  @spec get(term(), term()) :: term()
  def get(key, default \\ nil) do
    case Table.fetch(key) do
      {:ok, value} -> value
      :error -> default
    end
  end

  @doc "Sets the value of a key. An error of kind `:too_large` if `:state_limit` is in the way."
  @spec put(term(), term()) :: :ok | {:error, Error.t()}
  def put(key, value), do: Table.put(key, value)

  @doc "Deletes a key, if it is there."
  @spec delete(term()) :: :ok
  def delete(key), do: Table.delete(key)

  @doc "All keys, in no particular order."
  @spec keys() :: [term()]
  def keys, do: Table.keys()

  @doc "Deletes everything."
  @spec clear() :: :ok
  def clear, do: Table.clear()

  @doc """
  Adds to an integer and gives the new value, in one step for all processes and all Python threads. A key that is not
  there begins with 0. Raises `ArgumentError` if its value is no integer, `ErlangPython.Error` (`:too_large`) if a new key
  is beyond `:state_limit`.
  """
  @spec incr(term(), integer()) :: integer()
  def incr(key, by \\ 1)

  def incr(key, by) when is_integer(by) do
    case Table.add(key, by) do
      {:ok, value} -> value
      {:error, %Error{} = error} -> raise error
      {:error, message} -> raise ArgumentError, message
    end
  end

  def incr(_key, by),
    do: raise(ArgumentError, "expected an integer to add, got: #{inspect(by)}")

  @doc "Subtracts; see `incr/2`."
  @spec decr(term(), integer()) :: integer()
  def decr(key, by \\ 1)
  def decr(key, by) when is_integer(by), do: incr(key, -by)

  def decr(_key, by),
    do: raise(ArgumentError, "expected an integer to subtract, got: #{inspect(by)}")
end
