defmodule ErlangPython.Worker.Running do
  @moduledoc false
  # What a worker has begun, in a file that it maps, so that it survives any death of the process:
  # the id of the last request, then a ring of the last ids (docs/protocol.md, "What had begun").
  #
  # The ring, because a result that Python has handed to libzmq may die with the process: a request
  # that had ended when the next one killed the worker must not be given to another.

  alias ErlangPython.Error
  alias ErlangPython.Pool.Options

  @size 8 * (1 + Options.max_window())
  @none <<0::size(@size)-unit(8)>>

  @type id :: non_neg_integer()
  @typedoc "Kept open by the worker's process: a cleaner of temporary files may remove the name at any time."
  @type file :: {Path.t(), :file.fd()}
  @type t :: %{last: id(), begun: MapSet.t(id())} | :unknown

  @doc "Makes the file of a worker that is about to start."
  @spec create(Path.t(), String.t()) :: {:ok, file()} | {:error, Error.t()}
  def create(directory, name) do
    path = Path.join(directory, name)

    with {:ok, device} <- :file.open(path, [:raw, :binary, :read, :write]),
         :ok <- :file.write(device, @none) do
      {:ok, {path, device}}
    else
      {:error, posix} -> {:error, unwritable(path, posix)}
    end
  end

  defp unwritable(path, posix) do
    %Error{
      kind: :environment,
      message: "a Python worker could not start: cannot write #{path}: " <> reason(posix),
      executed: :no,
      details: %{output: []}
    }
  end

  defp reason(posix), do: to_string(:file.format_error(posix))

  @doc "What the worker has begun; `:unknown` if the file can't be read. Only for the process that made it."
  @spec read(file()) :: t()
  def read({_path, device}) do
    case :file.pread(device, 0, @size) do
      {:ok, <<last::64, ring::binary>>} ->
        %{last: last, begun: MapSet.new(for(<<id::64 <- ring>>, id > 0, do: id))}

      _unreadable ->
        :unknown
    end
  end

  @spec none() :: t()
  def none, do: %{last: 0, begun: MapSet.new()}

  @doc """
  What is known of the worker's open requests. Results leave in the order in which they were begun; so where one that is in the
  ring has got its end, no open one can have been begun before all of those. If none has, the ring may have forgotten some,
  since requests that are only for this worker may be more than it has room for.
  """
  @spec of_open(t(), [id()]) :: t()
  def of_open(:unknown, _open), do: :unknown

  def of_open(%{begun: begun} = running, open) do
    if MapSet.size(begun) == Options.max_window() and MapSet.subset?(begun, MapSet.new(open)),
      do: :unknown,
      else: running
  end

  @spec begun?(t(), id()) :: boolean()
  def begun?(:unknown, _id), do: true
  def begun?(running, id), do: id == running.last or MapSet.member?(running.begun, id)

  @doc "Is it the one that the worker began last, so that it may still run?"
  @spec last?(t(), id()) :: boolean()
  def last?(:unknown, _id), do: true
  def last?(running, id), do: id == running.last

  @spec delete(file()) :: term()
  def delete({path, device}) do
    :file.close(device)
    File.rm(path)
  end
end
