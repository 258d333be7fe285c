defmodule ErlangPython.TestTerms do
  @moduledoc false
  # PropEr generators of terms that come back from Python as they went out.

  # Not imported, as it may be missing.
  alias :proper_types, as: Types

  @compile {:no_warn_undefined, :proper_types}

  @atoms [:ok, :error, :undefined, :"two words", :grün, ErlangPython]

  @spec term() :: :proper_types.type()
  def term, do: Types.sized(&sized_term/1)

  @doc "Bytes that are nearly, but not quite, a message: valid ones with some bytes changed."
  @spec bytes() :: :proper_types.type()
  def bytes, do: Types.union([Types.binary(), let(Types.list(headers()), &IO.iodata_to_binary/1)])

  defp sized_term(0), do: scalar()

  defp sized_term(size) do
    inner = Types.lazy(fn -> sized_term(div(size, 3)) end)

    Types.frequency([
      {3, scalar()},
      {1, Types.list(inner)},
      {1, Types.list(Types.float())},
      {1, Types.list(int())},
      {1, let(Types.list(inner), &List.to_tuple/1)},
      {1, let(Types.list({key(), inner}), &Map.new/1)},
      {1, rows(inner)},
      {1, let(Types.list(key()), &MapSet.new/1)}
    ])
  end

  # From eight on they have a form of their own; among them maps that are not alike.
  defp rows(inner) do
    let(Types.non_empty(Types.list(Types.oneof(@atoms))), fn names ->
      row = let(Types.vector(length(names), inner), &(names |> Enum.zip(&1) |> Map.new()))

      Types.frequency([
        {4, Types.vector(9, row)},
        {1, Types.vector(9, Types.union([row, inner]))}
      ])
    end)
  end

  defp scalar do
    Types.union([
      int(),
      Types.float(),
      text(),
      Types.binary(),
      Types.oneof([nil, true, false | @atoms]),
      moment(),
      range()
    ])
  end

  # In Python 1, 1.0 and True are one key, and so are :ok and "ok".
  defp key,
    do:
      Types.union([int(), Types.oneof([nil | @atoms]), Types.binary(), {int(), int()}, moment()])

  # Around the borders of all formats, and beyond 64 bits.
  defp int do
    Types.union([
      Types.integer(),
      let({Types.range(0, 80), Types.range(-2, 2), Types.oneof([1, -1])}, fn {bits, offset, sign} ->
        sign * (Bitwise.bsl(1, bits) + offset)
      end),
      let(Types.binary(), &:binary.decode_unsigned/1)
    ])
  end

  defp text,
    do:
      let(
        Types.list(Types.oneof([Types.range(?a, ?z), 0xE9, 0x20AC, 0x1F40D])),
        &List.to_string/1
      )

  # All but the first and the last day that Python has, so that they may be moved to a zone.
  defp moment do
    let(
      {Types.range(-62_135_510_400, 253_402_214_399), Types.oneof([0, Types.range(0, 999_999)]),
       Types.range(0, 4)},
      fn
        {second, us, kind} ->
          moment(kind, DateTime.from_unix!(second * 1_000_000 + us, :microsecond))
      end
    )
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
    let(
      {int(), Types.range(0, 50), Types.union([Types.range(-9, -1), Types.range(1, 9)])},
      fn {first, count, step} ->
        Range.new(first, first + count * step, step)
      end
    )
  end

  # PropEr's ?LET.
  defp let(type, fun), do: Types.bind(type, fun, false)

  defp headers do
    Types.union([
      Types.byte(),
      Types.binary(),
      let({Types.oneof([0xC7, 0xD9, 0xC4]), Types.range(0, 9)}, fn {tag, size} -> [tag, size] end),
      let(Types.oneof(Enum.concat([0..13, 32..42, [-1, 99]])), &<<0xC7, 0, &1>>),
      let({Types.range(0xD4, 0xD8), Types.oneof(Enum.concat([-1..13, 32..42]))}, fn {tag, type} ->
        [tag, <<type>>]
      end),
      let(Types.range(0, 15), &[0x80 + &1]),
      let(Types.range(0, 15), &[0x90 + &1])
    ])
  end
end
