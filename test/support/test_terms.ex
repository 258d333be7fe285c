defmodule ErlangPython.TestTerms do
  @moduledoc false
  # PropEr generators of terms that come back from Python as they went out.

  # PropEr is the test's own, no application that this one depends on.
  @compile {:no_warn_undefined, :proper_types}

  import :proper_types, except: [term: 0, int: 0]

  @atoms [:ok, :error, :undefined, :"two words", :grün, ErlangPython]

  @spec term() :: :proper_types.type()
  def term, do: sized(&sized_term/1)

  @doc "Bytes that are nearly, but not quite, a message: valid ones with some bytes changed."
  @spec bytes() :: :proper_types.type()
  def bytes, do: union([binary(), let(list(headers()), &IO.iodata_to_binary/1)])

  defp sized_term(0), do: scalar()

  defp sized_term(size) do
    inner = lazy(fn -> sized_term(div(size, 3)) end)

    frequency([
      {3, scalar()},
      {1, list(inner)},
      {1, list(float())},
      {1, list(int())},
      {1, let(list(inner), &List.to_tuple/1)},
      {1, let(list({key(), inner}), &Map.new/1)},
      {1, let(list(key()), &MapSet.new/1)}
    ])
  end

  defp scalar do
    union([
      int(),
      float(),
      text(),
      binary(),
      oneof([nil, true, false | @atoms]),
      moment(),
      range()
    ])
  end

  # In Python 1, 1.0 and True are one key, and so are :ok and "ok".
  defp key, do: union([int(), oneof([nil | @atoms]), binary(), {int(), int()}, moment()])

  # Around the borders of all formats, and beyond 64 bits.
  defp int do
    union([
      integer(),
      let({range(0, 80), range(-2, 2), oneof([1, -1])}, fn {bits, offset, sign} ->
        sign * (Bitwise.bsl(1, bits) + offset)
      end),
      let(binary(), &:binary.decode_unsigned/1)
    ])
  end

  defp text, do: let(list(oneof([range(?a, ?z), 0xE9, 0x20AC, 0x1F40D])), &List.to_string/1)

  # All but the first and the last day that Python has, so that they may be moved to a zone.
  defp moment do
    let({range(-62_135_510_400, 253_402_214_399), oneof([0, range(0, 999_999)]), range(0, 4)}, fn
      {second, us, kind} ->
        moment(kind, DateTime.from_unix!(second * 1_000_000 + us, :microsecond))
    end)
  end

  defp moment(0, utc), do: exact(utc)
  defp moment(1, utc), do: utc |> DateTime.to_naive() |> exact()
  defp moment(2, utc), do: DateTime.to_date(utc)
  defp moment(3, utc), do: utc |> DateTime.to_time() |> exact()

  # A zone that Python does not know has one name there.
  defp moment(4, utc),
    do: %{exact(utc) | zone_abbr: "Test", time_zone: "Test", utc_offset: 3_600}

  defp exact(%{microsecond: {0, _precision}} = moment), do: %{moment | microsecond: {0, 0}}
  defp exact(%{microsecond: {us, _precision}} = moment), do: %{moment | microsecond: {us, 6}}

  # Python keeps the end of a range, not its last element.
  defp range do
    let({int(), range(0, 50), union([range(-9, -1), range(1, 9)])}, fn {first, count, step} ->
      Range.new(first, first + count * step, step)
    end)
  end

  # PropEr's ?LET.
  defp let(type, fun), do: bind(type, fun, false)

  defp headers do
    union([
      byte(),
      binary(),
      let({oneof([0xC7, 0xD9, 0xC4]), range(0, 9)}, fn {tag, size} -> [tag, size] end),
      let(oneof(Enum.concat([0..11, 32..38, [-1, 99]])), &<<0xC7, 0, &1>>),
      let({range(0xD4, 0xD8), oneof(Enum.concat([-1..11, 32..38]))}, fn {tag, type} ->
        [tag, <<type>>]
      end),
      let(range(0, 15), &[0x80 + &1]),
      let(range(0, 15), &[0x90 + &1])
    ])
  end
end
