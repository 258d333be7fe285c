defmodule ErlangPython.MessagePack.DecodeError do
  @moduledoc false
  # Bytes that are no message of ours.

  alias ErlangPython.MessagePack.Extension

  @type reason ::
          :truncated
          | :too_deep
          | :duplicate_key
          | {:trailing_bytes, pos_integer()}
          | {:unused_byte, byte()}
          | {:unknown_extension, integer()}
          | {:invalid_extension, integer()}
          | {:misplaced_marker, integer()}
          | {:no_buffer, non_neg_integer()}
          | {:no_list, dtype :: String.t()}

  @type t :: %__MODULE__{reason: reason()}

  defexception [:reason]

  @doc "Why an extension of that type has no term."
  @spec extension(integer()) ::
          {:invalid_extension, integer()} | {:unknown_extension, integer()}
  def extension(type) do
    if Extension.known?(type), do: {:invalid_extension, type}, else: {:unknown_extension, type}
  end

  @impl true
  def message(%__MODULE__{reason: reason}), do: sentence(reason)

  defp sentence(:truncated), do: "the message ends in the middle of a value"
  defp sentence(:too_deep), do: "arrays and maps are nested more than 256 deep"

  defp sentence(:duplicate_key),
    do: "two keys of a dict, or two members of a set, are the same term in Elixir"

  defp sentence({:trailing_bytes, count}), do: "#{count} bytes follow the value"
  defp sentence({:unused_byte, byte}), do: "no value begins with the byte #{byte}"
  defp sentence({:unknown_extension, type}), do: "extension type #{type} is unknown"

  defp sentence({:invalid_extension, type}),
    do: "the data of a value of type #{Extension.name(type)} is invalid"

  defp sentence({:misplaced_marker, type}),
    do: "a marker of type #{Extension.name(type)} stands where only a value can"

  defp sentence({:no_buffer, index}), do: "out-of-band frame #{index} is missing"

  defp sentence({:no_list, dtype}),
    do:
      "an array of #{inspect(dtype, printable_limit: 20)} can't be a list: Erlang has no such numbers"
end
