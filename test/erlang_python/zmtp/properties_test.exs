defmodule ErlangPython.ZMTP.PropertiesTest do
  use ExUnit.Case, async: true

  alias ErlangPython.ZMTP.{Command, Decoder, Frame, Greeting, Handshake, ProtocolError}

  @moduletag :proper
  @compile {:no_warn_undefined, [:proper, :proper_types]}

  @tests 300

  defp check(type, property) do
    forall = :proper.forall(type, property)
    result = :proper.quickcheck(forall, [:quiet, :long_result, numtests: @tests])
    assert result == true, "counterexample: #{inspect(result, limit: :infinity)}"
  end

  # Mostly small, and now and then around the end of the short form.
  defp body do
    :proper_types.frequency([
      {8, :proper_types.binary()},
      {1,
       :proper_types.bind(
         :proper_types.integer(250, 260),
         &:proper_types.exactly(:binary.copy("x", &1)),
         false
       )}
    ])
  end

  defp message, do: :proper_types.non_empty(:proper_types.list(body()))
  defp cuts, do: :proper_types.list(:proper_types.integer(1, 40))

  defp split(bytes, [cut | cuts]) when byte_size(bytes) > cut do
    {piece, rest} = :erlang.split_binary(bytes, cut)
    [piece | split(rest, cuts)]
  end

  defp split(bytes, _cuts), do: [bytes]

  defp feed_all(decoder, pieces) do
    Enum.reduce_while(pieces, {:ok, [], [], decoder}, fn piece,
                                                         {:ok, messages, commands, decoder} ->
      case Decoder.feed(decoder, piece) do
        {:ok, new, new_commands, decoder} ->
          {:cont, {:ok, messages ++ new, commands ++ new_commands, decoder}}

        {:error, error, new} ->
          {:halt, {:error, error, messages ++ new}}
      end
    end)
  end

  defp new, do: Decoder.new(100_000, 1_000)

  test "messages come back as they were sent, under any split" do
    check(:proper_types.tuple([:proper_types.list(message()), cuts()]), fn {messages, cuts} ->
      bytes = messages |> Enum.map(&Frame.encode_message/1) |> IO.iodata_to_binary()
      assert {:ok, ^messages, [], decoder} = feed_all(new(), split(bytes, cuts))
      Decoder.missing(decoder) == 0
    end)
  end

  test "arbitrary bytes give messages, a wait or our error, the same under any split" do
    # Flags that are defined, so that more than the first byte matters.
    traffic =
      :proper_types.list(
        :proper_types.frequency([
          {4, :proper_types.elements([0, 1, 2, 3, 4, 6])},
          {1, :proper_types.integer(0, 255)}
        ])
      )

    check(:proper_types.tuple([traffic, cuts()]), fn {bytes, cuts} ->
      bytes = :erlang.list_to_binary(bytes)

      case {Decoder.feed(new(), bytes), feed_all(new(), split(bytes, cuts))} do
        {{:ok, messages, commands, _}, {:ok, messages, commands, _}} -> true
        {{:error, %ProtocolError{} = error, messages}, {:error, error, messages}} -> true
      end
    end)
  end

  test "arbitrary bytes in a handshake give a peer, a wait or our error" do
    check(:proper_types.binary(), fn bytes ->
      for handshake <- [bytes, Greeting.encode() <> bytes, Greeting.encode() <> <<4>> <> bytes] do
        case Handshake.feed(Handshake.new(), handshake) do
          {:more, _handshake} -> true
          {:ok, %{identity: _, properties: _}, _rest} -> true
          {:error, %ProtocolError{} = error, _answer} -> is_binary(Exception.message(error))
        end
      end
      |> Enum.all?()
    end)
  end

  test "READY comes back as it was sent" do
    name = :proper_types.non_empty(:proper_types.list(:proper_types.integer(?a, ?z)))
    property = :proper_types.tuple([name, :proper_types.binary()])

    check(:proper_types.list(property), fn properties ->
      properties = Map.new(properties, fn {name, value} -> {List.to_string(name), value} end)
      bytes = IO.iodata_to_binary(Command.encode({:ready, properties}))
      assert {:ok, :command, body, ""} = Frame.decode(bytes, 0)
      Command.decode(body) == {:ok, {:ready, properties}}
    end)
  end
end
