defmodule ErlangPython.ErlangFace.States do
  @moduledoc false
  # The shared state in the shapes of `:py`.

  alias ErlangPython.ErlangFace.Reason
  alias ErlangPython.{Error, State}
  alias ErlangPython.State.Table

  @spec store(term(), term()) :: :ok | {:error, Reason.t()}
  def store(key, value) do
    with {:error, error} <- State.put(key, value), do: {:error, Reason.of(error)}
  end

  @spec fetch(term()) :: {:ok, term()} | {:error, :not_found}
  def fetch(key) do
    with :error <- Table.fetch(key), do: {:error, :not_found}
  end

  @spec add(term(), term()) :: integer() | {:error, Reason.t()}
  def add(key, by) when is_integer(by) do
    case Table.add(key, by) do
      {:ok, value} -> value
      {:error, %Error{} = error} -> {:error, Reason.of(error)}
      {:error, _no_integer} -> {:error, :invalid_args}
    end
  end

  def add(_key, _by), do: {:error, :invalid_args}

  @spec subtract(term(), term()) :: integer() | {:error, Reason.t()}
  def subtract(key, by) when is_integer(by), do: add(key, -by)
  def subtract(_key, _by), do: {:error, :invalid_args}
end
