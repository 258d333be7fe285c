defmodule ErlangPython.MessagePack.OptionalLibrariesTest do
  # Loads and removes modules that change what the codec does.
  use ExUnit.Case, async: false

  alias ErlangPython.{Arrow, MessagePack, Tensor}
  alias ErlangPython.MessagePack.{Decimals, EncodeError}

  @stand_ins Path.expand("../../support/stand_ins.exs", __DIR__)

  setup_all do
    {made, _bindings} = Code.eval_file(@stand_ins)

    on_exit(fn ->
      for module <- made do
        :code.delete(module)
        :code.purge(module)
      end
    end)
  end

  # By name, as the modules are not there when this file is compiled.
  defp decimal(sign, coef, exp), do: struct(Decimal, sign: sign, coef: coef, exp: exp)

  # General Decimal Arithmetic Specification, "to-scientific-string", and what Python prints.
  @texts [
    {1, 123, 0, "123"},
    {-1, 123, 0, "-123"},
    {1, 123, 1, "1.23E+3"},
    {1, 123, 3, "1.23E+5"},
    {1, 123, -1, "12.3"},
    {1, 123, -5, "0.00123"},
    {1, 123, -10, "1.23E-8"},
    {-1, 123, -12, "-1.23E-10"},
    {1, 0, 0, "0"},
    {1, 0, -2, "0.00"},
    {1, 0, 2, "0E+2"},
    {-1, 0, 0, "-0"},
    {1, 5, -6, "0.000005"},
    {1, 50, -7, "0.0000050"},
    {1, 5, -7, "5E-7"},
    {1, :NaN, 0, "NaN"},
    {-1, :inf, 0, "-Infinity"}
  ]

  test "decimals travel as Python prints them" do
    for {sign, coef, exp, text} <- @texts do
      decimal = decimal(sign, coef, exp)
      assert Decimals.to_text(decimal) == text
      assert Decimals.from_text(text) == {:ok, decimal}
      assert through(decimal) == decimal
    end
  end

  test "what is no decimal is refused" do
    for text <- [
          "",
          "-",
          ".",
          "1.2.3",
          "E+5",
          "1E",
          "1E5",
          "+1",
          " 1",
          "0x1",
          "--1",
          "nan",
          "1_0"
        ],
        do: assert(Decimals.from_text(text) == :error)
  end

  test "durations come back in fields that add up to them" do
    for {fields, back} <- [
          {[second: 5_400], [hour: 1, minute: 30]},
          {[week: 1, day: 1, microsecond: {5, 6}], [day: 8, microsecond: {5, 6}]},
          {[second: -90, microsecond: {-500_000, 6}],
           [minute: -1, second: -30, microsecond: {-500_000, 6}]},
          {[], []}
        ] do
      assert through(struct(Duration, fields)) == struct(Duration, back)
    end

    assert through(%ErlangPython.Duration{microseconds: 1_500_000}) ==
             struct(Duration, second: 1, microsecond: {500_000, 6})
  end

  test "a duration of months is an error" do
    assert {:error, %EncodeError{reason: :no_equivalent} = error} =
             MessagePack.encode(%{"in" => struct(Duration, month: 1)})

    assert Exception.message(error) =~ ~s(Duration at ["in"] to Python: a Python timedelta has no)
  end

  test "Nx tensors go out as tensors and come back on request" do
    nx = struct(Nx.Tensor, data: <<1::64-native, 2::64-native>>, type: {:s, 64}, shape: {2})
    {:ok, body, []} = MessagePack.encode(nx)
    {:ok, tensor} = body |> IO.iodata_to_binary() |> MessagePack.decode()
    assert %Tensor{dtype: <<_order, "i8">>, shape: {2}} = tensor
    assert Tensor.to_nx(tensor) == nx
  end

  test "Explorer dataframes go out as Arrow streams and come back on request" do
    dataframe = struct(Explorer.DataFrame, stream: "a stream")
    assert Arrow.from_explorer(dataframe) == %Arrow{stream: "a stream"}
    assert MessagePack.encode(dataframe) == MessagePack.encode(%Arrow{stream: "a stream"})
    assert Arrow.to_explorer("a stream") == dataframe
    assert Arrow.to_explorer(%Arrow{stream: "a stream"}) == dataframe
  end

  test "an Nx type that NumPy lacks is an error" do
    nx = struct(Nx.Tensor, data: <<0::16>>, type: {:bf, 16}, shape: {1})

    assert {:error, %EncodeError{reason: :no_equivalent} = error} = MessagePack.encode([nx])
    assert Exception.message(error) =~ "a struct Nx.Tensor at [0] to Python: NumPy has no such"
  end

  test "a NumPy type that Nx lacks is an error" do
    for dtype <- ["<U4", "<M8[ns]", if(System.endianness() == :little, do: ">f8", else: "<f8")] do
      assert_raise ArgumentError, ~r/Nx has no type for/, fn ->
        Tensor.to_nx(%Tensor{dtype: dtype, shape: {0}, data: ""})
      end
    end
  end

  defp through(term) do
    {:ok, body, []} = MessagePack.encode([term])
    {:ok, [term]} = body |> IO.iodata_to_binary() |> MessagePack.decode()
    term
  end
end
