defmodule ErlangPython.MessagePack.PropertiesTest do
  use ExUnit.Case, async: true

  import ErlangPython.Property

  alias ErlangPython.{MessagePack, TestTerms}
  alias ErlangPython.MessagePack.DecodeError

  @moduletag :proper
  @compile {:no_warn_undefined, :proper_types}

  # Decoded terms are at most this many times as large as their bytes: a list cell and an
  # empty tuple or set for a marked array of a few bytes are the worst.
  @words_per_byte 8
  # The smallest message makes a struct of a size of its own.
  @words_at_least 200

  test "a term that is encoded and decoded is the same term" do
    check(TestTerms.term(), 300, fn term ->
      {:ok, body, buffers} = MessagePack.encode(term)
      body = IO.iodata_to_binary(body)
      MessagePack.decode(body, buffers) === {:ok, term}
    end)
  end

  test "a body that is cut anywhere is an error" do
    check({TestTerms.term(), :proper_types.non_neg_integer()}, 300, fn {term, cut} ->
      {:ok, body, buffers} = MessagePack.encode(term)
      body = IO.iodata_to_binary(body)
      part = binary_part(body, 0, rem(cut, byte_size(body)))
      match?({:error, %DecodeError{}}, MessagePack.decode(part, buffers))
    end)
  end

  test "arbitrary bytes give a bounded term or an error, in both faces" do
    check(TestTerms.bytes(), 1_000, fn bytes ->
      for face <- [:elixir, :erlang] do
        case MessagePack.decode(bytes, [], face) do
          {:ok, term} ->
            :erts_debug.flat_size(term) < @words_at_least + @words_per_byte * byte_size(bytes)

          {:error, %DecodeError{} = error} ->
            is_binary(Exception.message(error))
        end
      end
      |> Enum.all?()
    end)
  end

  test "a message with changed bytes gives a term or an error" do
    changed = :proper_types.list({:proper_types.non_neg_integer(), :proper_types.byte()})

    check({TestTerms.term(), changed}, 300, fn {term, changes} ->
      {:ok, body, buffers} = MessagePack.encode(term)
      body = Enum.reduce(changes, IO.iodata_to_binary(body), &change/2)

      case MessagePack.decode(body, buffers) do
        {:ok, _term} -> true
        {:error, %DecodeError{}} -> true
      end
    end)
  end

  defp change({position, byte}, body) do
    position = rem(position, byte_size(body))
    {before, <<_byte, rest::binary>>} = :erlang.split_binary(body, position)
    <<before::binary, byte, rest::binary>>
  end
end
