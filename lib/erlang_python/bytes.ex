defmodule ErlangPython.Bytes do
  @moduledoc """
  A binary that Python gets as `bytes`, whatever is in it. `ErlangPython.bytes/1` makes one.

      iex> values = ["abc", ErlangPython.bytes("abc")]
      iex> ErlangPython.eval!("[type(value).__name__ for value in values]", values: values)
      ["str", "bytes"]

  A plain binary becomes `str` where it is valid UTF-8, so binary data that happens to
  look like text would change its type from one call to the next.
  """

  @enforce_keys [:data]
  defstruct [:data]

  @type t :: %__MODULE__{data: binary()}
end
