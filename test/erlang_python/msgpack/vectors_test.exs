defmodule ErlangPython.MessagePack.VectorsTest do
  # The golden values.
  use ExUnit.Case, async: true

  import ErlangPython.Vectors

  alias ErlangPython.MessagePack
  alias ErlangPython.MessagePack.DecodeError

  for [name, direction, hex, elixir, _python] <- rows("values.tsv"), elixir != "-" do
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

  for [name, side, hex | _why] <- rows("invalid.tsv"), side in ["both", "elixir"] do
    test "#{name} is refused" do
      assert {:error, %DecodeError{} = error} = unquote(hex) |> bytes() |> MessagePack.decode()
      assert Exception.message(error) =~ " "
    end
  end

  defp encode(term) do
    {:ok, body, []} = MessagePack.encode(term)
    body |> IO.iodata_to_binary() |> Base.encode16(case: :lower)
  end
end
