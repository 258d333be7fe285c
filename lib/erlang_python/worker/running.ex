defmodule ErlangPython.Worker.Running do
  @moduledoc false
  # Eight bytes that a worker shares with the BEAM through a mapped file: the id of the request that it
  # began last. They survive any death of the process, and say which one of the requests that had
  # been sent to it can have had effects; the others are given to another worker.

  @none <<0::64>>

  @type id :: non_neg_integer() | :unknown

  @doc "Makes the file of a worker that is about to start."
  @spec create(Path.t(), String.t()) :: Path.t()
  def create(directory, name) do
    path = Path.join(directory, name)
    File.write!(path, @none)
    path
  end

  @doc "The request that the worker began last, 0 if none; `:unknown` if the file can't be read."
  @spec read(Path.t()) :: id()
  def read(path) do
    case File.read(path) do
      {:ok, <<id::64>>} -> id
      _unreadable -> :unknown
    end
  end

  @spec delete(Path.t()) :: term()
  def delete(path), do: File.rm(path)
end
