defmodule ErlangPython.Arrow do
  @moduledoc """
  A dataframe for Python, as the bytes of an [Arrow IPC stream](https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format).

      ErlangPython.call("shop", "total", [%ErlangPython.Arrow{stream: bytes}])

  Python gets a `pyarrow.Table`, whose `to_pandas()` makes a dataframe of pandas; a `polars.DataFrame` where it has polars but
  no pyarrow; an error of kind `:decode` where it has neither.

  `Explorer` dataframes can be sent as they are. A dataframe in a result, of pandas, polars or pyarrow, comes back as
  the bytes of such a stream; pandas needs pyarrow for that. `to_explorer/1` turns them into a dataframe. Streams of 64 KiB and more travel beside
  the message, without being copied.
  """

  @enforce_keys [:stream]
  defstruct [:stream]

  @type t :: %__MODULE__{stream: binary()}

  @doc "What an Explorer dataframe is sent as."
  @spec from_explorer(struct()) :: t()
  def from_explorer(dataframe), do: %__MODULE__{stream: explorer(:dump_ipc_stream!, [dataframe])}

  @doc """
  The Explorer dataframe of a result.

  Raises `ArgumentError` if the application has no Explorer, and what Explorer raises if the bytes are no Arrow stream.
  """
  @spec to_explorer(binary() | t()) :: struct()
  def to_explorer(%__MODULE__{stream: stream}), do: to_explorer(stream)

  def to_explorer(stream) when is_binary(stream) do
    if not Code.ensure_loaded?(Explorer.DataFrame),
      do: raise(ArgumentError, "Explorer is not among the dependencies")

    explorer(:load_ipc_stream!, [stream])
  end

  def to_explorer(other),
    do: raise(ArgumentError, "expected the bytes of an Arrow stream, got: #{inspect(other)}")

  # Explorer is no dependency: a call that the compiler could read would make it warn.
  defp explorer(function, args), do: apply(Explorer.DataFrame, function, args)
end
