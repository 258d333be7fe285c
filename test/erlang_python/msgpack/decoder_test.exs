defmodule ErlangPython.MessagePack.DecoderTest do
  use ExUnit.Case, async: true

  alias ErlangPython.MessagePack
  alias ErlangPython.MessagePack.{DecodeError, Handle}

  describe "what a decoded string keeps alive" do
    # A packet of the socket holds many messages; a message many strings.
    setup do
      strings = for size <- [5, 31, 32, 64, 65, 200, 5_000], do: :binary.copy("x", size)
      {:ok, body, []} = MessagePack.encode(strings)
      body = IO.iodata_to_binary(body)
      packet = <<0::size(30_000)-unit(8), body::binary, 0::size(30_000)-unit(8)>>
      %{body: binary_part(packet, 30_000, byte_size(body)), strings: strings}
    end

    test "is itself alone, when it is small", %{body: body, strings: strings} do
      assert {:ok, ^strings} = MessagePack.decode(body)
      {:ok, decoded} = MessagePack.decode(body)
      # OTP 27 gives the bits of a binary on the heap, so each is compared with a copy of its own.
      for string <- decoded,
          do: assert(referenced(string) == referenced(:binary.copy(string)))
    end

    defp referenced(string), do: :binary.referenced_byte_size(string)

    test "is itself alone, as a key or an explicit byte string too" do
      key = :binary.copy("k", 100)
      padding = List.duplicate(%ErlangPython.Bytes{data: key}, 100)

      {:ok, body, []} =
        MessagePack.encode([%{key => key}, %ErlangPython.Bytes{data: key} | padding])

      {:ok, [map, bytes | _padding]} = body |> IO.iodata_to_binary() |> MessagePack.decode()

      for string <- [bytes | Enum.flat_map(map, &Tuple.to_list/1)],
          do: assert(:binary.referenced_byte_size(string) == 100)
    end

    test "is the message, when it is most of it" do
      large = :binary.copy("x", 60_000)
      {:ok, body, []} = MessagePack.encode([large, 1])
      body = IO.iodata_to_binary(body)
      {:ok, [string, 1]} = MessagePack.decode(body)
      assert :binary.referenced_byte_size(string) == :binary.referenced_byte_size(body)
    end
  end

  describe "out-of-band buffers" do
    test "are found by index" do
      assert MessagePack.decode(<<0xC7, 5, 6, 0, 1::32>>, ["a", "b"]) == {:ok, "b"}
    end

    test "that are missing are an error" do
      assert {:error, %DecodeError{reason: {:no_buffer, 2}} = error} =
               MessagePack.decode(<<0xC7, 5, 6, 1, 2::32>>, ["a", "b"])

      assert Exception.message(error) == "out-of-band frame 2 is missing"
    end
  end

  describe "handles" do
    test "come back as the same term" do
      port = Port.open({:spawn_executable, "/bin/cat"}, [])
      fun = fn x -> x + port_count(port) end

      for term <- [self(), make_ref(), port, fun, &Enum.map/2] do
        {:ok, body, []} = MessagePack.encode([term])
        assert body |> IO.iodata_to_binary() |> MessagePack.decode() == {:ok, [term]}
      end

      Port.close(port)
    end

    test "are callables when they are functions" do
      assert {:ok, <<0xC7, _size, 5, _rest::binary>>, []} = MessagePack.encode(&Enum.map/2)
      assert {:ok, <<0xC7, _size, 4, _rest::binary>>, []} = MessagePack.encode(self())
    end

    test "that this BEAM did not seal are refused" do
      <<mac::binary-size(16), external::binary>> = Handle.seal(self())
      <<first, others::binary>> = mac
      forged = :erlang.term_to_binary(&:os.cmd/1)

      for data <- [
            <<Bitwise.bxor(first, 1), others::binary, external::binary>>,
            <<mac::binary, forged::binary>>,
            <<0::128, forged::binary>>,
            mac,
            ""
          ] do
        assert Handle.open(data) == :error
        body = <<0xC8, byte_size(data)::16, 5, data::binary>>
        assert {:error, %DecodeError{reason: {:invalid_extension, 5}}} = MessagePack.decode(body)
      end
    end

    test "are sealed with one key, whoever comes first" do
      seals =
        1..50
        |> Task.async_stream(fn _ -> Handle.seal(:same) end, max_concurrency: 50)
        |> Enum.uniq()

      assert [{:ok, _seal}] = seals
    end

    defp port_count(port), do: length([port])
  end

  describe "atoms" do
    test "come back when they exist" do
      assert MessagePack.decode(<<0xD5, 1, "ok">>) == {:ok, :ok}
    end

    test "are never made" do
      name = "no_such_atom_#{System.unique_integer([:positive])}"
      body = <<0xC7, byte_size(name), 1, name::binary>>
      assert MessagePack.decode(body) == {:ok, name}
      assert_raise ArgumentError, fn -> String.to_existing_atom(name) end
    end

    test "longer than Erlang's come back as binaries" do
      name = String.duplicate("é", 400)
      assert MessagePack.decode(<<0xC8, 800::16, 1, name::binary>>) == {:ok, name}
    end
  end

  describe "keys and members that are the same term in Elixir" do
    test "are an error, for one would be lost" do
      for body <- [<<0x82, 0xA1, "a", 1, 0xC4, 1, "a", 2>>, <<0x93, 0xC7, 0, 33, 1, 0xD0, 1>>],
          do: assert({:error, %DecodeError{reason: :duplicate_key}} = MessagePack.decode(body))
    end
  end

  describe "an exception" do
    defp exception(message, cause) do
      <<0x98, 0xC7, 0, 35, 0xA1, "T", 0xA1, message::binary, 0x91, 0x94, 0xA1, "f", 1, 0xA1, "g",
        0xC0, cause::binary, 0xC0, 0x90, 0xA1, "x">>
    end

    test "is an error in Elixir, a reason in Erlang" do
      first = exception("m", <<0xC0>>)

      assert {:ok, %ErlangPython.Error{kind: :python, cause: nil} = error} =
               MessagePack.decode(first)

      assert %{message: "m", traceback: [%{code: nil}], details: %{relation: nil}} = error
      second = exception("n", first)

      assert {:ok, %ErlangPython.Error{message: "n", cause: ^error}} = MessagePack.decode(second)
      assert MessagePack.decode(second, [], :erlang) == {:ok, {:T, ~c"n"}}
    end

    test "of no text is refused" do
      for face <- [:elixir, :erlang],
          do: assert({:error, _} = MessagePack.decode(exception(<<0xFF>>, <<0xC0>>), [], face))
    end
  end

  describe "in the Erlang face" do
    test "sets and tensors are lists" do
      set = <<0x93, 0xC7, 0, 33, 1, 0xD0, 1>>
      assert MessagePack.decode(set, [], :erlang) == {:ok, [1, 1]}

      tensor = fn dtype, shape, data ->
        {:ok, shape, []} = MessagePack.encode(shape)
        shape = IO.iodata_to_binary(shape)

        <<0x94, 0xC7, 0, 36, 0xA3, dtype::binary, shape::binary, 0xC4, byte_size(data),
          data::binary>>
      end

      assert MessagePack.decode(tensor.("|u1", [2, 1], <<1, 2>>), [], :erlang) ==
               {:ok, [[1], [2]]}

      assert MessagePack.decode(tensor.("<c8", [1], <<0::64>>), [], :erlang) ==
               {:error, %DecodeError{reason: {:no_list, "<c8"}}}

      # Few bytes, many lists.
      for {shape, result} <- [{[1_024, 0], :ok}, {[1_025, 0], :error}, {[0, 1_000_000], :ok}] do
        assert {^result, _} = MessagePack.decode(tensor.("|u1", shape, ""), [], :erlang)
      end
    end
  end

  test "a decimal of more digits than Erlang reads quickly is refused" do
    for {digits, result} <- [{10_000, :ok}, {10_001, :error}] do
      text = String.duplicate("7", digits)
      assert {^result, _} = MessagePack.decode(<<0xC8, digits::16, 11, text::binary>>)
    end
  end

  test "each reason is a sentence" do
    for reason <- [
          :truncated,
          :too_deep,
          :duplicate_key,
          {:trailing_bytes, 3},
          {:unused_byte, 0xC1},
          {:unknown_extension, 99},
          {:invalid_extension, 35},
          {:misplaced_marker, 32},
          {:no_buffer, 0},
          {:no_list, "<c16"}
        ] do
      assert %DecodeError{reason: reason} |> Exception.message() |> String.split() |> length() > 4
    end
  end
end
