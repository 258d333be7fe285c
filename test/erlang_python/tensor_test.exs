defmodule ErlangPython.TensorTest do
  # `to_nx/1` and `from_nx/1` are tested with a stand-in for Nx, among the optional libraries.
  use ExUnit.Case, async: true

  alias ErlangPython.Tensor

  defp array(literal, dtype),
    do: ErlangPython.call!("numpy", "array", [literal], kwargs: %{dtype: dtype})

  describe "to_list/1" do
    test "has every type of element, in both byte orders" do
      for {dtype, elements} <- [
            {"?", [true, false]},
            {"u1", [0, 255]},
            {"u2", [1, 0xFFFF]},
            {"u4", [1, 0xFFFF_FFFF]},
            {"u8", [1, 0xFFFF_FFFF_FFFF_FFFF]},
            {"i1", [-128, 127]},
            {"i2", [-1, 0x7FFF]},
            {"i4", [-2, 0x7FFF_FFFF]},
            {"i8", [-3, 0x7FFF_FFFF_FFFF_FFFF]},
            {"f2", [-1.5, 65504.0]},
            {"f4", [0.25, -1.0e10]},
            {"f8", [0.1, -1.0e300]}
          ],
          order <- ["<", ">"] do
        assert %Tensor{} = tensor = array(elements, order <> dtype)
        assert Tensor.to_list(tensor) == elements
      end
    end

    test "has atoms for the floats that Erlang lacks" do
      for dtype <- ["<f2", ">f4", "<f8"] do
        floats = Enum.map([:nan, :neg_infinity, :infinity, 1.5], &ErlangPython.float/1)
        tensor = array(floats, dtype)
        assert Tensor.to_list(tensor) == [:nan, :neg_infinity, :infinity, 1.5]
      end
    end

    test "is nested by shape" do
      for {shape, list} <- [
            {"()", 0},
            {"(1,)", [0]},
            {"(6,)", [0, 1, 2, 3, 4, 5]},
            {"(2, 3)", [[0, 1, 2], [3, 4, 5]]},
            {"(3, 1, 2)", [[[0, 1]], [[2, 3]], [[4, 5]]]},
            {"(0,)", []},
            {"(2, 0)", [[], []]},
            {"(0, 2)", []},
            {"(2, 0, 3)", [[], []]},
            {"(1, 2, 0)", [[[], []]]}
          ] do
        {tensor, python} =
          ErlangPython.run!("""
          import math, numpy
          array = numpy.arange(math.prod(#{shape})).reshape(#{shape})
          array, array.tolist()
          """)

        assert %Tensor{} = tensor
        assert Tensor.to_list(tensor) == list
        assert python == list
      end
    end

    test "raises for what has no numbers, or is no tensor" do
      for dtype <- ["<c16", ">M8[ns]", "<m8[s]", "<f16", "<U1"] do
        tensor = %Tensor{dtype: dtype, shape: {0}, data: ""}

        assert_raise ArgumentError, ~r/no numbers for .* of #{Regex.escape(dtype)}/, fn ->
          Tensor.to_list(tensor)
        end
      end

      for {dtype, shape, data} <- [
            {"<f8", {2}, <<0::64>>},
            {"<f8", {}, ""},
            {"<f8", [1], <<0::64>>},
            {"f8", {1}, <<0::64>>},
            {:f8, {1}, <<0::64>>},
            {"<f8", {-1}, ""},
            {"<f8", {1}, [0]}
          ] do
        assert_raise ArgumentError, ~r/do not agree/, fn ->
          Tensor.to_list(%Tensor{dtype: dtype, shape: shape, data: data})
        end
      end

      assert_raise ArgumentError, ~r/expected an ErlangPython.Tensor, got: \[1\]/, fn ->
        Tensor.to_list([1])
      end
    end
  end
end
