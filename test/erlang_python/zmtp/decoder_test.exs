defmodule ErlangPython.ZMTP.DecoderTest do
  use ExUnit.Case, async: true

  alias ErlangPython.ZMTP.{Decoder, Frame, ProtocolError}

  @mib 1_048_576

  defp new(size \\ @mib, frames \\ 100), do: Decoder.new(size, frames)

  defp encode(messages), do: IO.iodata_to_binary(Enum.map(messages, &Frame.encode_message/1))

  defp feed_all(decoder, pieces) do
    Enum.reduce(pieces, {[], [], decoder}, fn piece, {messages, commands, decoder} ->
      assert {:ok, more_messages, more_commands, decoder} = Decoder.feed(decoder, piece)
      {messages ++ more_messages, commands ++ more_commands, decoder}
    end)
  end

  @messages [
    ["a"],
    [""],
    ["", ""],
    ["one", "two", "three"],
    [String.duplicate("x", 255), String.duplicate("y", 256)],
    ["end"]
  ]

  test "takes many messages out of one packet, in order" do
    assert {:ok, @messages, [], _decoder} = Decoder.feed(new(), encode(@messages))
  end

  test "gives the same for every split into two and for single bytes" do
    ping = <<0x04, 9, 4, "PING", 0, 0, "cx">>
    bytes = encode(@messages) <> ping <> encode([["last"]])
    expected = {@messages ++ [["last"]], [{:ping, 0, "cx"}]}

    for cut <- 0..byte_size(bytes) do
      {first, second} = :erlang.split_binary(bytes, cut)
      {messages, commands, _} = feed_all(new(), [first, second])
      assert {messages, commands} == expected
    end

    {messages, commands, _} = feed_all(new(), for(<<byte <- bytes>>, do: <<byte>>))
    assert {messages, commands} == expected
  end

  test "takes commands between the frames of a message" do
    bytes = <<1, 1, "a", 0x04, 7, 4, "PING", 0, 1, 0, 1, "b">>
    assert {:ok, [["a", "b"]], [{:ping, 1, ""}], _} = Decoder.feed(new(), bytes)
  end

  test "says what is missing" do
    assert {:ok, [], [], decoder} = Decoder.feed(new(), <<2, 100_000::64, "abc">>)
    assert Decoder.missing(decoder) == 99_997
    assert {:ok, [], [], decoder} = Decoder.feed(decoder, :binary.copy("x", 99_000))
    assert Decoder.missing(decoder) == 997
    assert {:ok, [[_]], [], decoder} = Decoder.feed(decoder, :binary.copy("x", 997))
    assert Decoder.missing(decoder) == 0
  end

  test "counts the size over all frames of a message, at n - 1, n and n + 1" do
    for {size, fits?} <- [{9, true}, {10, true}, {11, false}] do
      bytes = encode([["12345", String.duplicate("x", size - 5)]])

      case Decoder.feed(new(10), bytes) do
        {:ok, [_message], [], _} -> assert fits?
        {:error, error, []} -> assert {error.reason, fits?} == {{:message_size, size, 10}, false}
      end
    end
  end

  test "starts the count anew with each message" do
    assert {:ok, [_, _, _], [], _} =
             Decoder.feed(
               new(10),
               encode([["12345", "12345"], ["1234567890"], ["12345", "12345"]])
             )
  end

  test "limits the number of frames" do
    three = encode([["a", "b", "c"]])
    assert {:ok, [_], [], _} = Decoder.feed(new(@mib, 3), three)

    assert {:error, %ProtocolError{reason: {:frames, 2}}, []} = Decoder.feed(new(@mib, 2), three)
    assert {:error, %ProtocolError{reason: {:frames, 1}}, []} = Decoder.feed(new(@mib, 1), three)
    assert {:ok, [["a"]], [], _} = Decoder.feed(new(@mib, 1), encode([["a"]]))
  end

  test "gives the messages that came before an error" do
    assert {:error, %ProtocolError{reason: {:flags, 0x80}}, [["good"]]} =
             Decoder.feed(new(), encode([["good"]]) <> <<0x80>>)

    assert {:error, %ProtocolError{reason: {:malformed, "PING"}}, [["good"]]} =
             Decoder.feed(new(), encode([["good"]]) <> <<4, 5, 4, "PING">>)
  end

  test "joins a large frame of small packets in linear time" do
    size = 4 * @mib
    packets = List.duplicate(:binary.copy("x", 64), div(size, 64))
    {:ok, [], [], decoder} = Decoder.feed(new(size), <<2, size::64>>)

    {reductions, {messages, [], _}} = reductions(fn -> feed_packets(decoder, packets) end)

    assert [[body]] = messages
    assert byte_size(body) == size
    # 65,536 packets at a few dozen reductions each; quadratic joining takes millions more.
    assert reductions < 65_536 * 100
  end

  defp feed_packets(decoder, packets) do
    Enum.reduce(packets, {[], [], decoder}, fn packet, {[], [], decoder} ->
      {:ok, messages, commands, decoder} = Decoder.feed(decoder, packet)
      {messages, commands, decoder}
    end)
  end

  defp reductions(fun) do
    {:reductions, before} = Process.info(self(), :reductions)
    result = fun.()
    {:reductions, later} = Process.info(self(), :reductions)
    {later - before, result}
  end
end
