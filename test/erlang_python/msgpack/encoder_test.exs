defmodule ErlangPython.MessagePack.EncoderTest do
  use ExUnit.Case, async: true

  import ExUnit.CaptureIO

  alias ErlangPython.MessagePack
  alias ErlangPython.MessagePack.EncodeError
  alias ErlangPython.TestStructs.{Chosen, Hidden, Money, Plain}

  describe "large binaries" do
    # docs/protocol.md, "Out of band"
    test "leave the body from 65,536 bytes on" do
      small = :binary.copy("x", 65_535)
      large = :binary.copy("x", 65_536)

      assert {:ok, body, []} = MessagePack.encode(small)
      assert IO.iodata_to_binary(body) == <<0xDA, 65_535::16, small::binary>>

      assert {:ok, body, [^large]} = MessagePack.encode(large)
      assert IO.iodata_to_binary(body) == <<0xC7, 5, 6, 0, 0::32>>
    end

    test "are numbered in wire order, plain ones of kind 0 and explicit bytes of kind 1" do
      [a, b] = for char <- ["a", "b"], do: :binary.copy(char, 70_000)

      assert {:ok, body, [^a, ^b]} = MessagePack.encode([a, %ErlangPython.Bytes{data: b}])

      assert IO.iodata_to_binary(body) ==
               <<0x92, 0xC7, 5, 6, 0, 0::32, 0xC7, 5, 6, 1, 1::32>>

      assert MessagePack.decode(IO.iodata_to_binary(body), [a, b]) == {:ok, [a, b]}
    end

    test "stand in the body by reference from 4,096 bytes on" do
      data = :binary.copy("x", 4_096)

      assert {:ok, body, []} = MessagePack.encode([1, data, 2])
      assert [_head, reference, _tail] = body
      assert :erts_debug.same(reference, data)

      assert IO.iodata_to_binary(body) ==
               <<0x93, 1, 0xDA, 4_096::16, data::binary, 2>>
    end

    test "of a tensor travel beside the body" do
      data = :binary.copy(<<1.5::float-little>>, 10_000)
      tensor = %ErlangPython.Tensor{dtype: "<f8", shape: {100, 100}, data: data}

      assert {:ok, body, [^data]} = MessagePack.encode(tensor)
      assert MessagePack.decode(IO.iodata_to_binary(body), [data]) == {:ok, tensor}
    end
  end

  describe "structs" do
    test "become maps of their fields" do
      assert through(%Plain{a: 1, b: :ok}) == %{"a" => 1, "b" => :ok}
    end

    test "derive the choice of their fields" do
      assert through(%Chosen{id: 7, password: "x"}) == %{"id" => 7}
      assert through(%Hidden{id: 7, password: "x"}) == %{"id" => 7}
    end

    test "refuse a derivation that names no field" do
      # The compiler also warns that protocols are consolidated already.
      capture_io(:stderr, fn ->
        assert_raise ArgumentError, ~r/no such fields: \[:typo\]/, fn ->
          Code.eval_string("""
          defmodule ErlangPython.MessagePack.EncoderTest.Typo do
            @derive {ErlangPython.Encoder, only: [:typo]}
            defstruct [:id]
          end
          """)
        end
      end)
    end

    test "become what their implementation of the protocol says" do
      assert through([%Money{amount: 5, currency: "EUR"}]) == [{5, "EUR"}]
    end

    test "URIs become text" do
      assert through(URI.parse("https://example.org/a?b=c")) == "https://example.org/a?b=c"
    end

    test "exceptions keep their fields" do
      assert through(%RuntimeError{message: "no"}) == %{"message" => "no"}
    end
  end

  describe "the Erlang face" do
    test "takes none, nil and undefined for None, which comes back as none" do
      assert {:ok, body, []} = MessagePack.encode([:none, nil, :undefined], :erlang)
      assert IO.iodata_to_binary(body) == <<0x93, 0xC0, 0xC0, 0xC0>>

      assert MessagePack.decode(<<0x93, 0xC0, 0xC0, 0xC0>>, [], :erlang) ==
               {:ok, [:none, :none, :none]}
    end

    test "sends other atoms as text, true and false as bools" do
      long = String.to_atom(String.duplicate("a", 40))
      assert {:ok, body, []} = MessagePack.encode(%{ok: [true, false, long]}, :erlang)
      {:ok, text, []} = MessagePack.encode(%{"ok" => [true, false, Atom.to_string(long)]})
      assert IO.iodata_to_binary(body) == IO.iodata_to_binary(text)
    end

    test "forces bytes with a pair, which is an ordinary tuple in the Elixir face" do
      assert {:ok, body, []} = MessagePack.encode([{:bytes, "ab"}], :erlang)
      assert IO.iodata_to_binary(body) == <<0x91, 0xD5, 3, "ab">>
      assert through({:bytes, "ab"}) == {:bytes, "ab"}
    end
  end

  describe "an error" do
    test "says what, where and what to do" do
      for {term, reason, text} <- refused() do
        assert {:error, %EncodeError{reason: ^reason} = error} = MessagePack.encode(term)
        assert Exception.message(error) =~ text
      end
    end

    test "carries the value and its path" do
      assert {:error, %EncodeError{value: <<1::3>>, path: [2, "a"]}} =
               MessagePack.encode([1, 2, %{"a" => <<1::3>>}])
    end

    test "points into a row as into its map" do
      rows = for n <- 1..9, do: %{a: n, b: if(n == 4, do: %{"c" => <<1::3>>}, else: n)}

      assert {:error, %EncodeError{value: <<1::3>>, path: [0, 3, :b, "c"]}} =
               MessagePack.encode([rows])
    end

    test "points into a key as into its map" do
      assert {:error, %EncodeError{path: [0, {<<1::1>>}, 0]}} =
               MessagePack.encode([%{{<<1::1>>} => 1}])
    end

    test "comes at depth 257" do
      deepest = Enum.reduce(1..255, [], fn _, list -> [list] end)
      assert {:ok, _body, []} = MessagePack.encode(deepest)
      assert {:error, %EncodeError{reason: :too_deep, path: path}} = MessagePack.encode([deepest])
      assert length(path) == 256

      rows = &List.duplicate(%{a: &1}, 8)
      assert {:ok, _body, []} = deepest |> hd() |> hd() |> rows.() |> MessagePack.encode()

      for wrap <- [&{&1}, &%{"a" => &1}, rows, &rows.(hd(&1))] do
        assert {:error, %EncodeError{reason: :too_deep}} = MessagePack.encode(wrap.(deepest))
      end

      tuples = Enum.reduce(1..255, {}, fn _, tuple -> {tuple} end)
      assert {:ok, _body, []} = MessagePack.encode(tuples)

      assert {:error, %EncodeError{reason: :too_deep}} = MessagePack.encode(MapSet.new([tuples]))
    end

    defp refused do
      [
        {<<1::3>>, :bitstring, "cannot send a bitstring of 3 bits to Python: pad it"},
        {[1, 2, %{"a" => <<1::3>>}], :bitstring, ~s(at [2]["a"] to Python)},
        {{:ok, %{a: {<<1::1>>}}}, :bitstring, "at [1][:a][0] to Python"},
        {%{[1] => 2}, :unhashable,
         "cannot send a list to Python: in Python, lists, dicts and sets cannot"},
        {%{"k" => %{%{} => 2}}, :unhashable, ~s(a map at ["k"])},
        {[%{~c"größe" => 1}], :unhashable, ~s|(an Erlang string is a list: write <<"k">>)|},
        {[MapSet.new([~c"a"])], :unhashable, ~s|use a tuple (an Erlang string is a list|},
        {%{%Plain{} => 1}, :unhashable, "a struct ErlangPython.TestStructs.Plain"},
        {[MapSet.new([[1]])], :unhashable, "a struct MapSet at [0]"},
        {[MapSet.new([1, {2, {[3]}}])], :unhashable, "a struct MapSet at [0]"},
        {%{x: %{{1, {[2]}} => 3}}, :unhashable, "a list at [:x][{1, {[2]}}][1][0] to Python"},
        {%{{%{}} => 1}, :unhashable, "a map at [{%{}}][0] to Python"},
        {%{MapSet.new([1]) => 2}, :unhashable, "cannot send a struct MapSet to Python"},
        {%{{MapSet.new([1])} => 2}, :unhashable, "a struct MapSet at [{"},
        {[0, [1 | 2]], :improper_list, "a list at [1]"},
        {[1, 2, 3, 4 | 5], :improper_list, "a list"},
        {[:""], :empty_atom, "the atom :\"\" at [0]"},
        {%{Plain => ~D[0000-01-01]}, :out_of_range, "Python's years go from 1 to 9999"},
        {~D[-0001-01-01], :out_of_range, "a struct Date to Python"},
        {~N[0000-12-31 00:00:00], :out_of_range, "Python's years"},
        {%ErlangPython.Duration{microseconds: 2 ** 63}, :out_of_range, "longer than 64 bits"},
        {~r/a/U, :no_equivalent, "flags i, m, s, u and x only"},
        {%ErlangPython.Bytes{data: 1}, :invalid_struct, "a field of it has the wrong type"},
        {%ErlangPython.Float{value: :nam}, :invalid_struct, "its value is no float"},
        {%URI{path: self()}, :invalid_struct, "a field of it has the wrong type"},
        {%ErlangPython.Tensor{dtype: "<f8", shape: {3}, data: <<0::64>>}, :invalid_struct,
         "its dtype, shape and data do not agree"},
        {%ErlangPython.Tensor{dtype: "<f8", shape: [1], data: <<0::64>>}, :invalid_struct,
         "wrong type"}
      ]
    end
  end

  test "keyword lists are lists of pairs" do
    assert through(a: 1, b: 2) == [{:a, 1}, {:b, 2}]
  end

  test "times of other precisions come back in microseconds" do
    assert through(~T[12:00:00.5]) == ~T[12:00:00.500000]
    assert through(~U[2024-01-01 12:00:00.5Z]) == ~U[2024-01-01 12:00:00.500000Z]
  end

  if not Code.ensure_loaded?(Duration) do
    test "without Duration, durations have a struct of the library's own" do
      duration = %ErlangPython.Duration{microseconds: -1}
      assert through(duration) == duration
    end
  end

  defp through(term) do
    {:ok, body, buffers} = MessagePack.encode(term)
    {:ok, term} = body |> IO.iodata_to_binary() |> MessagePack.decode(buffers)
    term
  end
end
