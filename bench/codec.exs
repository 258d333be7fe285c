# What encoding and decoding cost, beside Erlang's own external term format (ETF) in the same run.
#
#     mix run --no-start bench/codec.exs [rounds]
#
# The variants of a row take turns in short rounds; the medians of the rounds' means are
# printed. Only ratios are comparable between runs and machines.

for file <- ~w(stats clock rounds baseline machine) do
  Code.require_file("support/#{file}.exs", __DIR__)
end

defmodule Bench.Codec do
  alias Bench.{Clock, Machine, Rounds, Stats}
  alias ErlangPython.MessagePack

  @round_ns 2_000_000

  def run(rounds) do
    IO.puts("#{Machine.line()}; #{rounds} rounds, microseconds per operation\n")

    IO.puts(
      row(["payload", "bytes", "encode", "ETF", "ratio", "decode", "ETF", "ratio"]) <>
        "\n" <> String.duplicate("-", 86)
    )

    for {name, term} <- payloads(), do: name |> measure(term, rounds) |> IO.puts()
  end

  defp payloads do
    [
      {"small call", ["math", "sqrt", [16, 2.5, "some text"], %{"key" => true}, 0]},
      {"1 KiB binary", :binary.copy("x", 1_024)},
      {"1 MB binary", :binary.copy("x", 1_000_000)},
      {"100 MiB binary", :binary.copy("x", 100 * 1_048_576)},
      {"10k floats", for(n <- 1..10_000, do: n * 1.1)},
      {"10k ints", Enum.to_list(1..10_000)},
      {"10k large ints", for(n <- 1..10_000, do: n * 1_000_003)},
      {"10k strings", for(n <- 1..10_000, do: "string number #{n}")},
      {"1k maps, string keys", maps(&"key_#{&1}")},
      {"1k maps, atom keys", maps(&:"key_#{&1}")},
      {"1k tuples", for(n <- 1..1_000, do: {:ok, n, "text"})},
      {"nested, 2 kB", nested(5)}
    ]
  end

  defp maps(key) do
    for n <- 1..1_000 do
      Map.new(1..10, fn k -> {key.(k), if(rem(k, 3) == 0, do: "value #{n}", else: n * k)} end)
    end
  end

  defp nested(0), do: [1, 2.5, "leaf", nil, true]

  defp nested(depth) do
    %{
      "name" => "node #{depth}",
      "values" => [depth, depth * 1.5, "text"],
      "left" => nested(depth - 1),
      "right" => [nested(depth - 1)]
    }
  end

  defp measure(name, term, rounds) do
    {:ok, body, buffers} = MessagePack.encode(term)
    size = IO.iodata_length([body | buffers])
    body = IO.iodata_to_binary(body)
    {:ok, ^term} = MessagePack.decode(body, buffers)
    external = :erlang.term_to_binary(term)

    [encode, etf_encode, decode, etf_decode] =
      medians(rounds,
        encode: fn -> MessagePack.encode(term) end,
        etf_encode: fn -> :erlang.term_to_iovec(term) end,
        decode: fn -> MessagePack.decode(body, buffers) end,
        etf_decode: fn -> :erlang.binary_to_term(external) end
      )

    row([
      name,
      size,
      us(encode),
      us(etf_encode),
      ratio(encode, etf_encode),
      us(decode),
      us(etf_decode),
      ratio(decode, etf_decode)
    ])
  end

  defp medians(rounds, variants) do
    repeated =
      for {name, run} <- variants do
        count = max(1, trunc(@round_ns / max(Clock.mean(5, run), 1)))
        {name, fn -> Clock.mean(count, run) end}
      end

    rounds = Rounds.run(rounds, repeated)
    for {name, _run} <- variants, do: Stats.median(rounds[name]) / 1_000
  end

  defp us(us) when us < 10, do: :erlang.float_to_binary(us, decimals: 2)
  defp us(us), do: us |> round() |> Integer.to_string()

  defp ratio(us, base), do: :erlang.float_to_binary(us / base, decimals: 2)

  defp row([name | cells]) do
    String.pad_trailing(name, 22) <> Enum.map_join(cells, &String.pad_leading("#{&1}", 9))
  end
end

rounds =
  case System.argv() do
    [] -> 31
    [rounds] -> String.to_integer(rounds)
  end

Bench.Codec.run(rounds)
