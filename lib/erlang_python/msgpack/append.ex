defmodule ErlangPython.MessagePack.Append do
  @moduledoc false
  # The less common forms, appended to the encoder's accumulator, each in one append. The
  # shortest integers, floats and short strings are the encoder's own.

  import ErlangPython.MessagePack.Extension, only: [type: 1]

  alias ErlangPython.MessagePack.Extension

  @spec integer(binary(), integer()) :: binary()
  def integer(acc, int) when int >= 0 and int <= 0xFFFF_FFFF_FFFF_FFFF,
    do: <<acc::binary, 0xCF, int::64>>

  def integer(acc, int) when int >= -0x80 and int < 0, do: <<acc::binary, 0xD0, int::8>>
  def integer(acc, int) when int >= -0x8000 and int < 0, do: <<acc::binary, 0xD1, int::16>>
  def integer(acc, int) when int >= -0x8000_0000 and int < 0, do: <<acc::binary, 0xD2, int::32>>

  def integer(acc, int) when int >= -0x8000_0000_0000_0000 and int < 0,
    do: <<acc::binary, 0xD3, int::64>>

  def integer(acc, int) do
    data = Extension.signed(int)
    <<acc::binary, Extension.pack(type(:integer), data)::binary>>
  end

  @spec atom(binary(), atom(), ErlangPython.MessagePack.face()) :: binary()
  def atom(acc, :undefined, :erlport), do: <<acc::binary, 0xC0>>

  def atom(acc, atom, face) when face != :erlang do
    name = Atom.to_string(atom)

    case byte_size(name) do
      1 -> <<acc::binary, 0xD4, type(:atom), name::binary>>
      2 -> <<acc::binary, 0xD5, type(:atom), name::binary>>
      4 -> <<acc::binary, 0xD6, type(:atom), name::binary>>
      8 -> <<acc::binary, 0xD7, type(:atom), name::binary>>
      16 -> <<acc::binary, 0xD8, type(:atom), name::binary>>
      size when size <= 0xFF -> <<acc::binary, 0xC7, size, type(:atom), name::binary>>
      size -> <<acc::binary, 0xC8, size::16, type(:atom), name::binary>>
    end
  end

  def atom(acc, atom, :erlang) when atom in [:none, :undefined], do: <<acc::binary, 0xC0>>

  def atom(acc, atom, :erlang) do
    name = Atom.to_string(atom)

    case byte_size(name) do
      size when size < 32 -> <<acc::binary, 0xA0 + size, name::binary>>
      size when size <= 0xFF -> <<acc::binary, 0xD9, size, name::binary>>
      size -> <<acc::binary, 0xDA, size::16, name::binary>>
    end
  end

  @spec array_header(binary(), non_neg_integer()) :: binary()
  def array_header(acc, size) when size < 16, do: <<acc::binary, 0x90 + size>>
  def array_header(acc, size) when size <= 0xFFFF, do: <<acc::binary, 0xDC, size::16>>
  def array_header(acc, size), do: <<acc::binary, 0xDD, size::32>>

  @spec map_header(binary(), non_neg_integer()) :: binary()
  def map_header(acc, size) when size < 16, do: <<acc::binary, 0x80 + size>>
  def map_header(acc, size) when size <= 0xFFFF, do: <<acc::binary, 0xDE, size::16>>
  def map_header(acc, size), do: <<acc::binary, 0xDF, size::32>>
end
