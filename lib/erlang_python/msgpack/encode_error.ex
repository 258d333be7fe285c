defmodule ErlangPython.MessagePack.EncodeError do
  @moduledoc false
  # A term that has no encoding: what it is, where it stands, and what to do instead.

  @type reason ::
          :bitstring
          | :empty_atom
          | :improper_list
          | :unhashable
          | :too_deep
          | :too_large
          | :out_of_range
          | :no_equivalent
          | :invalid_struct

  @type t :: %__MODULE__{reason: reason(), value: term(), path: [term()], hint: String.t()}

  defexception [:reason, :value, :hint, path: []]

  @impl true
  def message(%__MODULE__{} = error),
    do: "cannot send #{describe(error.value)}#{place(error.path)} to Python: #{error.hint}"

  @doc "A path as Elixir and Python would write it: `[2][\"a\"]`."
  @spec format_path([term()]) :: String.t()
  def format_path(path),
    do: Enum.map_join(path, &"[#{inspect(&1, limit: 5, printable_limit: 50)}]")

  defp place([]), do: ""
  defp place(path), do: " at #{format_path(path)}"

  # The kind of term and its size, not its content, which may be large or secret.
  defp describe(bits) when is_bitstring(bits) and not is_binary(bits),
    do: "a bitstring of #{bit_size(bits)} bits"

  defp describe(binary) when is_binary(binary), do: "a binary of #{byte_size(binary)} bytes"
  defp describe(atom) when is_atom(atom), do: "the atom #{inspect(atom)}"
  defp describe(list) when is_list(list), do: "a list"
  defp describe(tuple) when is_tuple(tuple), do: "a tuple of #{tuple_size(tuple)}"
  defp describe(%name{}), do: "a struct #{inspect(name)}"
  defp describe(map) when is_map(map), do: "a map"
  defp describe(int) when is_integer(int), do: "an integer"
  defp describe(_term), do: "a term"
end
