defmodule ErlangPython.MessagePack.Decoder do
  @moduledoc false
  # All calls are tail calls whose first argument is the rest of the body, so that one match
  # context serves the whole message, over a stack of the containers that are still open:
  #
  #   {:items, left, items, up}             an array, `left` items follow the one being read
  #   {:key, left, size, pairs, up}         a map, a key that is no short string is being read
  #   {:value, key, left, size, pairs, up}  a map, the value of `key` is being read
  #   {:marked, type, up}                   what the items of the array above it make
  #   :end                                  the body itself
  #
  # No memory is taken on a header's word: a list grows with the items that are there, and
  # a string that is longer than the rest does not match. The depth is bounded for the sake
  # of whoever walks the term later.
  #
  # `ctx` is {what nil becomes, buffers, size from which a string is not copied}.

  import ErlangPython.MessagePack.Extension, only: [type: 1]

  alias ErlangPython.MessagePack.{DecodeError, Extension, Marked}

  @max_depth 256
  @first_marker type(:tuple)

  @typep stack ::
           :end
           | {:items, non_neg_integer(), list(), stack()}
           | {:key, non_neg_integer(), pos_integer(), list(), stack()}
           | {:value, term(), non_neg_integer(), pos_integer(), list(), stack()}
           | {:marked, integer(), stack()}

  # What is common is matched by the loops over arrays and maps themselves: pattern, guard,
  # term. The compiler makes a jump table of clauses whose first byte is a literal, so each
  # length of a short string has its own. The runtime copies strings of up to 64 bytes
  # when it matches them: they keep nothing alive.
  int = Macro.var(:int, nil)
  rest = Macro.var(:rest, nil)
  term = Macro.var(:term, nil)

  @short_strings (for size <- 0..31 do
                    quote do
                      <<unquote(0xA0 + size), unquote(term)::binary-size(unquote(size)),
                        unquote(rest)::binary>>
                    end
                  end)

  @numbers (for {tag, form} <- [
                  {0xCB, quote(do: float - 64)},
                  {0xCC, quote(do: integer - 8)},
                  {0xCD, quote(do: integer - 16)},
                  {0xCE, quote(do: integer - 32)},
                  {0xCF, quote(do: integer - 64)},
                  {0xD0, quote(do: signed - 8)},
                  {0xD1, quote(do: signed - 16)},
                  {0xD2, quote(do: signed - 32)},
                  {0xD3, quote(do: signed - 64)}
                ] do
              quote(do: <<unquote(tag), unquote(term)::unquote(form), unquote(rest)::binary>>)
            end)

  byte = quote(do: <<unquote(int), unquote(rest)::binary>>)

  @scalars Enum.concat([
             [{byte, quote(do: unquote(int) < 0x80), int}],
             for(pattern <- @short_strings ++ @numbers, do: {pattern, true, term}),
             [
               {quote(do: <<0xC2, unquote(rest)::binary>>), true, false},
               {quote(do: <<0xC3, unquote(rest)::binary>>), true, true},
               {byte, quote(do: unquote(int) >= 0xE0), quote(do: unquote(int) - 0x100)}
             ]
           ])

  @spec decode(binary(), [binary()], ErlangPython.MessagePack.face()) ::
          {:ok, term()} | {:error, DecodeError.t()}
  def decode(body, buffers, face) do
    null = null(face)

    # The body may be a piece of a larger packet. A string that is at least half of all that
    # it would keep alive is not copied.
    copy_below = div(:binary.referenced_byte_size(body) + 1, 2)

    with {:error, reason} <- value(body, :end, 0, {null, List.to_tuple(buffers), copy_below}),
         do: {:error, %DecodeError{reason: reason}}
  end

  defp null(:elixir), do: nil
  defp null(:erlang), do: :none
  defp null(:erlport), do: :undefined

  # The loop over an array

  defp items(<<rest::binary>>, 0, items, stack, depth, ctx),
    do: next(rest, :lists.reverse(items), stack, depth - 1, ctx)

  for {pattern, guard, term} <- @scalars do
    defp items(unquote(pattern), left, items, stack, depth, ctx) when unquote(guard),
      do: items(rest, left - 1, [unquote(term) | items], stack, depth, ctx)
  end

  defp items(<<rest::binary>>, left, items, stack, depth, ctx),
    do: value(rest, {:items, left - 1, items, stack}, depth, ctx)

  # The loop over a map. The pairs go to maps:from_list/1 in the order of the wire: ascending
  # keys cost it a third of what descending ones do.

  defp pairs(<<rest::binary>>, 0, size, pairs, stack, depth, ctx) do
    map = :maps.from_list(:lists.reverse(pairs))

    if map_size(map) == size,
      do: next(rest, map, stack, depth - 1, ctx),
      else: {:error, :duplicate_key}
  end

  for pattern <- @short_strings do
    defp pairs(unquote(pattern), left, size, pairs, stack, depth, ctx),
      do: pair(rest, term, left - 1, size, pairs, stack, depth, ctx)
  end

  defp pairs(<<rest::binary>>, left, size, pairs, stack, depth, ctx),
    do: value(rest, {:key, left - 1, size, pairs, stack}, depth, ctx)

  for {pattern, guard, term} <- @scalars do
    defp pair(unquote(pattern), key, left, size, pairs, stack, depth, ctx) when unquote(guard),
      do: pairs(rest, left, size, [{key, unquote(term)} | pairs], stack, depth, ctx)
  end

  defp pair(<<rest::binary>>, key, left, size, pairs, stack, depth, ctx),
    do: value(rest, {:value, key, left, size, pairs, stack}, depth, ctx)

  # A value is complete: on with what it belongs to

  defp next(<<rest::binary>>, item, {:items, left, items, stack}, depth, ctx),
    do: items(rest, left, [item | items], stack, depth, ctx)

  defp next(<<rest::binary>>, value, {:value, key, left, size, pairs, stack}, depth, ctx),
    do: pairs(rest, left, size, [{key, value} | pairs], stack, depth, ctx)

  defp next(<<rest::binary>>, key, {:key, left, size, pairs, stack}, depth, ctx),
    do: pair(rest, key, left, size, pairs, stack, depth, ctx)

  defp next(<<rest::binary>>, items, {:marked, type(:tuple), stack}, depth, ctx),
    do: next(rest, List.to_tuple(items), stack, depth, ctx)

  defp next(<<rest::binary>>, items, {:marked, type, stack}, depth, ctx) do
    case Marked.build(type, items, elem(ctx, 0)) do
      {:ok, term} -> next(rest, term, stack, depth, ctx)
      {:error, reason} -> {:error, reason}
    end
  end

  defp next(<<>>, value, :end, 0, _ctx), do: {:ok, value}

  defp next(<<rest::binary>>, _value, :end, 0, _ctx),
    do: {:error, {:trailing_bytes, byte_size(rest)}}

  # Any value, in the order of the specification's table of formats after the scalars

  @spec value(binary(), stack(), 0..256, tuple()) ::
          {:ok, term()} | {:error, DecodeError.reason()}
  for {pattern, guard, term} <- @scalars do
    defp value(unquote(pattern), stack, depth, ctx) when unquote(guard),
      do: next(rest, unquote(term), stack, depth, ctx)
  end

  defp value(<<8::4, size::4, rest::binary>>, stack, depth, ctx),
    do: map(rest, size, stack, depth, ctx)

  defp value(<<9::4, size::4, rest::binary>>, stack, depth, ctx),
    do: array(rest, size, stack, depth, ctx)

  defp value(<<0xC0, rest::binary>>, stack, depth, ctx),
    do: next(rest, elem(ctx, 0), stack, depth, ctx)

  for {tag, bits} <- [{0xC4, 8}, {0xC5, 16}, {0xC6, 32}, {0xD9, 8}, {0xDA, 16}, {0xDB, 32}] do
    defp value(
           <<unquote(tag), size::unquote(bits), data::binary-size(size), rest::binary>>,
           stack,
           depth,
           ctx
         ),
         do: next(rest, keep(data, ctx), stack, depth, ctx)
  end

  for {tag, bits} <- [{0xC7, 8}, {0xC8, 16}, {0xC9, 32}] do
    defp value(
           <<unquote(tag), size::unquote(bits), type::signed, data::binary-size(size),
             rest::binary>>,
           stack,
           depth,
           ctx
         ),
         do: extension(rest, type, data, stack, depth, ctx)
  end

  for {tag, size} <- [{0xD4, 1}, {0xD5, 2}, {0xD6, 4}, {0xD7, 8}, {0xD8, 16}] do
    defp value(
           <<unquote(tag), type::signed, data::binary-size(unquote(size)), rest::binary>>,
           stack,
           depth,
           ctx
         ),
         do: extension(rest, type, data, stack, depth, ctx)
  end

  defp value(<<0xCA, float::float-32, rest::binary>>, stack, depth, ctx),
    do: next(rest, float, stack, depth, ctx)

  # IEEE 754, all bits of the exponent set: Erlang has no float for these.
  for {tag, exponent, fraction} <- [{0xCA, 8, 23}, {0xCB, 11, 52}] do
    defp value(
           <<unquote(tag), sign::1, _exponent::unquote(exponent), fraction::unquote(fraction),
             rest::binary>>,
           stack,
           depth,
           ctx
         ),
         do: next(rest, not_finite(sign, fraction), stack, depth, ctx)
  end

  for {tag, bits} <- [{0xDC, 16}, {0xDD, 32}] do
    defp value(<<unquote(tag), size::unquote(bits), rest::binary>>, stack, depth, ctx),
      do: array(rest, size, stack, depth, ctx)
  end

  for {tag, bits} <- [{0xDE, 16}, {0xDF, 32}] do
    defp value(<<unquote(tag), size::unquote(bits), rest::binary>>, stack, depth, ctx),
      do: map(rest, size, stack, depth, ctx)
  end

  defp value(<<0xC1, _rest::binary>>, _stack, _depth, _ctx), do: {:error, {:unused_byte, 0xC1}}
  defp value(<<_truncated::binary>>, _stack, _depth, _ctx), do: {:error, :truncated}

  defp map(<<_rest::binary>>, _size, _stack, @max_depth, _ctx), do: {:error, :too_deep}

  # A literal: a message full of empty maps must not become five words for each byte.
  defp map(<<rest::binary>>, 0, stack, depth, ctx), do: next(rest, %{}, stack, depth, ctx)

  defp map(<<rest::binary>>, size, stack, depth, ctx),
    do: pairs(rest, size, size, [], stack, depth + 1, ctx)

  defp array(<<_rest::binary>>, _size, _stack, @max_depth, _ctx), do: {:error, :too_deep}

  # An extension of length 0, whichever header says so.
  for header <- [<<0xC7, 0>>, <<0xC8, 0, 0>>, <<0xC9, 0, 0, 0, 0>>] do
    defp array(<<unquote(header), type, rest::binary>>, size, stack, depth, ctx)
         when size > 0 and type in @first_marker..127,
         do: items(rest, size - 1, [], {:marked, type, stack}, depth + 1, ctx)
  end

  defp array(<<rest::binary>>, size, stack, depth, ctx),
    do: items(rest, size, [], stack, depth + 1, ctx)

  defp extension(<<_rest::binary>>, type, <<>>, _stack, _depth, _ctx) when type >= @first_marker,
    do: {:error, {:misplaced_marker, type}}

  defp extension(<<rest::binary>>, type(:atom), name, stack, depth, ctx) do
    case Extension.atom(name) do
      {:error, reason} -> {:error, reason}
      term -> next(rest, term, stack, depth, ctx)
    end
  end

  defp extension(<<rest::binary>>, type(:bytes), data, stack, depth, ctx),
    do: next(rest, keep(data, ctx), stack, depth, ctx)

  defp extension(<<rest::binary>>, type(:buffer), <<kind, index::32>>, stack, depth, ctx)
       when kind in 0..1 do
    case elem(ctx, 1) do
      buffers when index < tuple_size(buffers) ->
        next(rest, elem(buffers, index), stack, depth, ctx)

      _buffers ->
        {:error, {:no_buffer, index}}
    end
  end

  defp extension(<<rest::binary>>, type, data, stack, depth, ctx) do
    case Extension.unpack(type, data) do
      {:ok, term} -> next(rest, term, stack, depth, ctx)
      {:error, reason} -> {:error, reason}
    end
  end

  defp keep(data, {_null, _buffers, copy_below}) when byte_size(data) < copy_below,
    do: :binary.copy(data)

  defp keep(data, _ctx), do: data

  defp not_finite(0, 0), do: :infinity
  defp not_finite(1, 0), do: :neg_infinity
  defp not_finite(_sign, _fraction), do: :nan
end
