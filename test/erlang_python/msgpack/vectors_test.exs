defmodule ErlangPython.MessagePack.VectorsTest do
  # The golden vectors that both languages read: docs/protocol.md says what their columns are.
  use ExUnit.Case, async: true

  alias ErlangPython.MessagePack
  alias ErlangPython.MessagePack.DecodeError

  @folder Path.expand("../../vectors", __DIR__)

  for name <- ~w(values.tsv invalid.tsv), do: @external_resource(Path.join(@folder, name))

  read = fn name ->
    for line <- @folder |> Path.join(name) |> File.read!() |> String.split("\n", trim: true),
        do: String.split(line, "\t")
  end

  for [name, direction, hex, elixir, _python] <- read.("values.tsv"), elixir != "-" do
    if direction in ["both", "to_python"] do
      test "#{name} is encoded" do
        assert encode(evaluate(unquote(elixir))) == unquote(hex)
      end
    end

    if direction in ["both", "to_elixir", "decode"] do
      test "#{name} is decoded" do
        # First, as the atoms must exist.
        expected = evaluate(unquote(elixir))
        assert {:ok, term} = unquote(hex) |> bytes() |> MessagePack.decode()
        assert comparable(term) === comparable(expected)
      end
    end
  end

  for [name, side, hex | _why] <- read.("invalid.tsv"), side in ["both", "elixir"] do
    test "#{name} is refused" do
      assert {:error, %DecodeError{} = error} = unquote(hex) |> bytes() |> MessagePack.decode()
      assert Exception.message(error) =~ " "
    end
  end

  defp bytes(hex), do: Base.decode16!(hex, case: :lower)

  defp encode(term) do
    {:ok, body, []} = MessagePack.encode(term)
    body |> IO.iodata_to_binary() |> Base.encode16(case: :lower)
  end

  defp evaluate(source) do
    {value, _bindings} =
      source
      |> String.replace(~r/ErlangPython\.(bytes|float)\(/, "\\1.(")
      |> Code.eval_string(
        bytes: &%ErlangPython.Bytes{data: &1},
        float: &%ErlangPython.Float{value: &1}
      )

    value
  end

  # Sets and compiled expressions by what they say.
  defp comparable(%ErlangPython.Error{} = error) do
    error
    |> Map.take([:type, :message, :traceback, :notes])
    |> Map.put(:cause, error.cause && comparable(error.cause))
    |> Map.put(:formatted, error.details.formatted)
    |> Map.put(:relation, error.details[:relation])
  end

  defp comparable(%Regex{} = regex), do: {Regex.source(regex), Regex.opts(regex)}

  # Without the Decimal library its text is what comes back.
  defp comparable(%{__struct__: Decimal} = decimal),
    do: ErlangPython.MessagePack.Decimals.to_text(decimal)

  defp comparable(term), do: term
end
