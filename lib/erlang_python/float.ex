defmodule ErlangPython.Float do
  @moduledoc """
  A float that Erlang has no term for. `ErlangPython.float/1` makes one.

      iex> ErlangPython.eval!("max(x, 10.0)", x: ErlangPython.float(:infinity))
      :infinity

  NaN and the infinities come back from Python as `:nan`, `:infinity` and `:neg_infinity`;
  as plain atoms they would go out as `erlang.Atom`, so this struct marks them as floats.
  """

  @enforce_keys [:value]
  defstruct [:value]

  @type t :: %__MODULE__{value: :nan | :infinity | :neg_infinity | float()}
end
