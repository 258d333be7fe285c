defmodule ErlangPython.ProtocolTest do
  # docs/protocol.md is the authority on the numbers of which both languages have a table.
  use ExUnit.Case, async: true

  alias ErlangPython.MessagePack.Extension
  alias ErlangPython.Protocol

  @page Path.expand("../../docs/protocol.md", __DIR__)

  # Of `_protocol.py`, beside the types.
  @others ~w(BUFFERS_FOLLOW BUFFER_BINARY BUFFER_BYTES FIRST_MARK HEAD_SIZE KEEP NESTED OUT_OF_BAND TRACE_SIZE
             TRACE_STATE TYPE VERSION)

  setup_all do
    code = """
    from erlang_python_worker import _protocol
    {name: value for name, value in vars(_protocol).items() if name.isupper()}
    """

    python = ErlangPython.run!(code, %{}, pool: :single)
    [messages, values] = @page |> File.read!() |> String.split("\n### Extensions with data\n")

    %{
      messages: table(messages, ~r/^\| 0x([0-9A-F]{2}) \| `(\w+)` *\|/m, 16),
      extensions: table(values, ~r/^\| (-?\d+) \| ([a-zA-Z ]+?) *\|/m, 10),
      python: python
    }
  end

  # The rows of the page's tables that begin with a number and a name.
  defp table(page, pattern, base) do
    for [_row, number, name] <- Regex.scan(pattern, page),
        into: %{},
        do: {upcase(name), String.to_integer(number, base)}
  end

  defp upcase(name), do: name |> to_string() |> String.upcase() |> String.replace(" ", "_")

  test "the message types", %{messages: messages, python: python} do
    assert messages == Map.new(Protocol.types(), fn {name, type} -> {upcase(name), type} end)
    assert messages == Map.take(python, Map.keys(messages))
  end

  test "the extension types", %{extensions: extensions, python: python} do
    known = for type <- -128..127, Extension.known?(type), do: {Extension.name(type), type}
    assert extensions == Map.new(known, fn {name, type} -> {upcase(name), type} end)
    # That of MessagePack itself is the library's in Python.
    extensions = Map.delete(extensions, "TIMESTAMP")
    assert extensions == Map.take(python, Map.keys(extensions))
  end

  test "Python has no other", %{messages: messages, extensions: extensions, python: python} do
    types = Map.merge(messages, extensions)
    assert python |> Map.drop(Map.keys(types)) |> Map.keys() |> Enum.sort() == @others
  end
end
