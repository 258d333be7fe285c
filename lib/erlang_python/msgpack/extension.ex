defmodule ErlangPython.MessagePack.Extension do
  @moduledoc false
  # The extension types of docs/protocol.md, "Values", which is the authority, and the
  # header that every extension begins with (MessagePack specification, "ext format family").

  alias ErlangPython.MessagePack.{DecodeError, Decimals, Handle, Times}

  @types [
    timestamp: -1,
    atom: 1,
    integer: 2,
    bytes: 3,
    opaque: 4,
    callable: 5,
    buffer: 6,
    date: 7,
    time: 8,
    naive_datetime: 9,
    duration: 10,
    decimal: 11,
    iterator: 12,
    object: 13,
    tuple: 32,
    set: 33,
    datetime: 34,
    exception: 35,
    tensor: 36,
    range: 37,
    regex: 38,
    improper_list: 39,
    python_object: 40,
    dataframe: 41,
    rows: 42
  ]

  @doc "The number of an extension type, for use at compile time and in patterns."
  defmacro type(name) when is_atom(name), do: Keyword.fetch!(@types, name)

  @doc "The name of an extension type, for error messages."
  @spec name(integer()) :: String.t()
  for {name, type} <- @types do
    def name(unquote(type)), do: unquote(name |> Atom.to_string() |> String.replace("_", " "))
  end

  def name(type), do: Integer.to_string(type)

  @spec known?(integer()) :: boolean()
  def known?(type), do: type in unquote(Keyword.values(@types))

  @doc "An integer in two's complement, as short as possible."
  @spec signed(integer()) :: binary()
  def signed(int) do
    magnitude = if int < 0, do: -int - 1, else: int
    # A bit of its own for the sign: the highest bit of the magnitude must be clear.
    size = magnitude |> :binary.encode_unsigned() |> signed_size()
    <<int::signed-size(size)-unit(8)>>
  end

  defp signed_size(<<0::1, _::bitstring>> = magnitude), do: byte_size(magnitude)
  defp signed_size(magnitude), do: byte_size(magnitude) + 1

  @doc "An extension whose data is at hand."
  @spec pack(integer(), binary()) :: binary()
  def pack(type, data), do: <<header(type, byte_size(data))::binary, data::binary>>

  @doc """
  The term that an extension's data stands for; explicit bytes and buffers are the decoder's.
  """
  @spec unpack(integer(), binary()) :: {:ok, term()} | {:error, DecodeError.reason()}
  def unpack(type, data) do
    with :error <- term(type, data), do: {:error, DecodeError.extension(type)}
  end

  defp term(2, data) when data != "" do
    <<sign::1, _bits::bitstring>> = data
    {:ok, :binary.decode_unsigned(data) - Bitwise.bsl(sign, bit_size(data))}
  end

  defp term(type, data) when type in 4..5, do: Handle.open(data)
  defp term(type, data) when type == -1 or type in 7..10, do: Times.unpack(type, data)
  defp term(11, text), do: Decimals.from_text(text)
  defp term(_type, _data), do: :error

  @doc """
  The atom of that name if there is one, else the name: a peer's bytes never make an atom.
  """
  @spec atom(binary()) :: atom() | binary() | {:error, DecodeError.reason()}
  def atom(name) when byte_size(name) in 1..1020 do
    :erlang.binary_to_existing_atom(name)
  rescue
    # No such atom, not UTF-8, or longer than the 255 characters that an atom may have.
    _error in [ArgumentError, SystemLimitError] ->
      if String.valid?(name), do: :binary.copy(name), else: {:error, {:invalid_extension, 1}}
  end

  def atom(_name), do: {:error, {:invalid_extension, 1}}

  @doc "What stands before the `size` bytes of an extension's data."
  @spec header(integer(), non_neg_integer()) :: binary()
  def header(type, 1), do: <<0xD4, type>>
  def header(type, 2), do: <<0xD5, type>>
  def header(type, 4), do: <<0xD6, type>>
  def header(type, 8), do: <<0xD7, type>>
  def header(type, 16), do: <<0xD8, type>>
  def header(type, size) when size <= 0xFF, do: <<0xC7, size, type>>
  def header(type, size) when size <= 0xFFFF, do: <<0xC8, size::16, type>>
  def header(type, size) when size <= 0xFFFF_FFFF, do: <<0xC9, size::32, type>>
end
