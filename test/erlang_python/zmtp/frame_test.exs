defmodule ErlangPython.ZMTP.FrameTest do
  use ExUnit.Case, async: true

  alias ErlangPython.ZMTP.{Frame, ProtocolError}

  @max 1_000_000

  defp bytes(iodata), do: IO.iodata_to_binary(iodata)

  describe "the wire forms of rfc.zeromq.org/spec/37, \"Formal Grammar\"" do
    # message-last = ( %x00 short-size | %x02 long-size ) message-body
    test "message-last" do
      assert bytes(Frame.encode(:last, "abc")) == <<0x00, 3, "abc">>
      body = String.duplicate("x", 256)
      assert bytes(Frame.encode(:last, body)) == <<0x02, 0, 0, 0, 0, 0, 0, 1, 0, body::binary>>
    end

    # message-more = ( %x01 short-size | %x03 long-size ) message-body
    test "message-more" do
      assert bytes(Frame.encode(:more, "abc")) == <<0x01, 3, "abc">>
      body = String.duplicate("x", 70_000)
      assert bytes(Frame.encode(:more, body)) == <<0x03, 70_000::64, body::binary>>
    end

    # command-size = %x04 short-size | %x06 long-size
    test "command" do
      assert bytes(Frame.encode(:command, "abc")) == <<0x04, 3, "abc">>
      body = String.duplicate("x", 300)
      assert bytes(Frame.encode(:command, body)) == <<0x06, 300::64, body::binary>>
    end

    # "If the body is 0-255 octets, the command SHOULD use a short size field": 255 | 256.
    test "the short form ends at 255" do
      assert <<0x00, 255, _::binary-size(255)>> =
               bytes(Frame.encode(:last, String.duplicate("x", 255)))

      assert <<0x02, 256::64, _::binary-size(256)>> =
               bytes(Frame.encode(:last, String.duplicate("x", 256)))
    end

    test "a long form of a small body is accepted" do
      assert Frame.decode(<<0x02, 3::64, "abc", "rest">>, @max) == {:ok, :last, "abc", "rest"}
      assert Frame.decode(<<0x03, 0::64>>, @max) == {:ok, :more, "", ""}
      assert Frame.decode(<<0x06, 1::64, 0>>, @max) == {:ok, :command, <<0>>, ""}
    end
  end

  describe "encode_message/1" do
    test "makes one flat binary of a small frame, iodata or not" do
      assert Frame.encode_message(["abc"]) == <<0, 3, "abc">>
      assert Frame.encode_message([[1, ["b", "c"]]]) == <<0, 3, 1, "bc">>
    end

    test "sets MORE on all frames but the last" do
      assert bytes(Frame.encode_message(["a", "", "b"])) == <<1, 1, "a", 1, 0, 0, 1, "b">>
    end

    test "does not copy a large body" do
      body = :binary.copy("x", 100_000)
      assert [_header | same] = Frame.encode_message([body])
      assert :erts_debug.same(body, same)
    end
  end

  describe "decode/2" do
    # "Bits 7-3 ... MUST be zero"; MORE "SHALL be zero on command frames".
    test "refuses undefined flags, whatever follows" do
      for flags <- 0..255, flags not in [0, 1, 2, 3, 4, 6] do
        assert {:error, %ProtocolError{reason: {:flags, ^flags}}} = Frame.decode(<<flags>>, @max)
      end
    end

    test "answers how many bytes it needs" do
      assert Frame.decode(<<>>, @max) == {:more, 2}
      assert Frame.decode(<<0>>, @max) == {:more, 2}
      assert Frame.decode(<<0, 5, "ab">>, @max) == {:more, 7}
      assert Frame.decode(<<2>>, @max) == {:more, 9}
      assert Frame.decode(<<2, 0, 0, 0>>, @max) == {:more, 9}
      assert Frame.decode(<<2, 1_000::64>>, @max) == {:more, 1_009}
    end

    test "compares the limit with the header alone, at n - 1, n and n + 1" do
      for header <- [<<0, 10>>, <<1, 10>>, <<2, 10::64>>, <<3, 10::64>>] do
        assert {:error, %ProtocolError{reason: {:message_size, 10, 9}}} = Frame.decode(header, 9)
        assert {:more, _} = Frame.decode(header, 10)
        assert {:more, _} = Frame.decode(header, 11)
      end

      for size <- [0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF] do
        assert {:error, %ProtocolError{reason: {:message_size, ^size, @max}}} =
                 Frame.decode(<<2, size::64>>, @max)

        assert {:error, %ProtocolError{reason: {:command_size, ^size, 65_536}}} =
                 Frame.decode(<<6, size::64>>, @max)
      end
    end
  end
end
