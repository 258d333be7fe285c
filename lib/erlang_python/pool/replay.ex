defmodule ErlangPython.Pool.Replay do
  @moduledoc false
  # Requests that each worker runs before it is ready, in their order (pure). Each has a name, so that a
  # later one can take the place of an earlier one.

  alias ErlangPython.Bytes
  alias ErlangPython.Request.Message

  @type name :: term()
  @opaque t :: [{name(), Message.packed()}]

  @spec new() :: t()
  def new, do: []

  @spec put(t(), name(), Message.packed()) :: t()
  def put(replay, name, {type, body, buffers}),
    do: delete(replay, name) ++ [{name, {type, IO.iodata_to_binary(body), buffers}}]

  @spec delete(t(), name()) :: t()
  def delete(replay, name), do: Enum.reject(replay, fn {known, _packed} -> known === name end)

  @doc "As `SETUP` carries them."
  @spec encode(t()) :: [term()]
  def encode(replay) do
    for {_name, {type, body, buffers}} <- replay,
        do: [type, bytes(body), Enum.map(buffers, &bytes/1)]
  end

  defp bytes(data), do: %Bytes{data: data}
end
