defmodule ErlangPython.MessagePack.Encoder do
  @moduledoc false
  # Everything is appended to one growing binary, which the runtime does in place as long as
  # nobody keeps an older one; nested iodata lists were up to 2.5 times slower on lists of
  # numbers. Large binaries are not copied: from 4 KiB on they close the accumulator and
  # stand in the iodata by reference, from 64 KiB on they leave the body.
  #
  # All calls are tail calls over a stack of the containers that are still open. So the
  # accumulator never has to be returned in a tuple, and the stack tells where an error is:
  #
  #   {:items, rest, all}         an array: `rest` follows the item that is being written
  #   {:pairs, rest, key}         a map: the value of `key` is being written
  #   {:key, rest, key, value}    a map: a key that is no scalar is being written
  #   {:rows, rest, all}          rows: `rest` follows the map that is being written
  #   {:row, rest, key}           a row: the value of `key` is being written
  #
  # `out` is {face, chunks of the body, buffers, their count}, both lists newest first. Among the buffers stand the Refs
  # that the term holds, uncounted: `{:ref, ref, stack}`.

  import ErlangPython.MessagePack.Extension, only: [type: 1]
  import ErlangPython.MessagePack.Structs, only: [is_unhashable: 1]

  alias ErlangPython.{Iterator, Ref}
  alias ErlangPython.MessagePack.{Append, EncodeError, Extension, Handle, Opaque, Rows, Structs}

  @by_reference 4_096
  @out_of_band 65_536
  @max_depth 256
  @max_size 0xFFFF_FFFF

  @typep frame ::
           {:items, list(), list()}
           | {:pairs, [{term(), term()}], term()}
           | {:key, [{term(), term()}], term(), term()}
           | {:rows, [map()], [map()]}
           | {:row, [{term(), term()}], term()}
  @typedoc "What goes with a body."
  @type beside :: binary() | {:ref, Ref.t(), [frame()]}
  @typep result :: {:ok, iodata(), [beside()]} | {:error, EncodeError.t()}

  defguardp is_byte(int) when is_integer(int) and int >= -32 and int <= 127
  defguardp is_uint16(int) when is_integer(int) and int > 0xFF and int <= 0xFFFF

  @spec encode(term(), ErlangPython.MessagePack.face()) :: result()
  def encode(term, face), do: value(term, <<>>, [], 0, {face, [], [], 0})

  @doc "Where something stands that was met with this stack."
  @spec path([frame()]) :: [term()]
  def path(stack), do: Enum.reduce(stack, [], &[step(&1) | &2])

  defp next(acc, [{:items, rest, all} | stack], depth, out),
    do: items(rest, acc, all, stack, depth, out)

  defp next(acc, [{:pairs, rest, _key} | stack], depth, out),
    do: pairs(rest, acc, stack, depth, out)

  defp next(acc, [{:key, rest, key, value} | stack], depth, out),
    do: value(value, acc, [{:pairs, rest, key} | stack], depth, out)

  defp next(acc, [{:rows, rest, all} | stack], depth, out),
    do: rows(rest, acc, all, stack, depth, out)

  defp next(acc, [{:row, rest, _key} | stack], depth, out), do: row(rest, acc, stack, depth, out)

  defp next(acc, [], 0, {_face, [], buffers, _count}), do: {:ok, acc, Enum.reverse(buffers)}

  defp next(acc, [], 0, {_face, chunks, buffers, _count}),
    do: {:ok, Enum.reverse(chunks, [acc]), Enum.reverse(buffers)}

  defp value(term, acc, stack, depth, out) do
    case scalar(term, acc, elem(out, 0)) do
      :other -> other(term, acc, stack, depth, out)
      acc -> next(acc, stack, depth, out)
    end
  end

  # Several at a time where neighbours are alike: an append has a price of its own.
  defp items([a, b, c, d | rest], acc, all, stack, depth, out)
       when is_float(a) and is_float(b) and is_float(c) and is_float(d) do
    acc = <<acc::binary, 0xCB, a::float, 0xCB, b::float, 0xCB, c::float, 0xCB, d::float>>
    items(rest, acc, all, stack, depth, out)
  end

  defp items([a, b, c, d | rest], acc, all, stack, depth, out)
       when is_byte(a) and is_byte(b) and is_byte(c) and is_byte(d),
       do: items(rest, <<acc::binary, a, b, c, d>>, all, stack, depth, out)

  defp items([a, b, c, d | rest], acc, all, stack, depth, out)
       when is_uint16(a) and is_uint16(b) and is_uint16(c) and is_uint16(d) do
    acc = <<acc::binary, 0xCD, a::16, 0xCD, b::16, 0xCD, c::16, 0xCD, d::16>>
    items(rest, acc, all, stack, depth, out)
  end

  defp items([a, b | rest], acc, all, stack, depth, out)
       when is_binary(a) and byte_size(a) < 32 and is_binary(b) and byte_size(b) < 32 do
    acc = <<acc::binary, 0xA0 + byte_size(a), a::binary, 0xA0 + byte_size(b), b::binary>>
    items(rest, acc, all, stack, depth, out)
  end

  defp items([item | rest], acc, all, stack, depth, out) do
    case scalar(item, acc, elem(out, 0)) do
      :other -> other(item, acc, [{:items, rest, all} | stack], depth, out)
      acc -> items(rest, acc, all, stack, depth, out)
    end
  end

  defp items([], acc, _all, stack, depth, out), do: next(acc, stack, depth - 1, out)

  # A short key and a common value at once.
  defp pairs([{key, value} | rest], acc, stack, depth, out)
       when is_binary(key) and byte_size(key) < 32 do
    size = byte_size(key)

    case value do
      int when is_byte(int) ->
        pairs(rest, <<acc::binary, 0xA0 + size, key::binary, int>>, stack, depth, out)

      text when is_binary(text) and byte_size(text) < 32 ->
        acc = <<acc::binary, 0xA0 + size, key::binary, 0xA0 + byte_size(text), text::binary>>
        pairs(rest, acc, stack, depth, out)

      int when is_uint16(int) ->
        pairs(rest, <<acc::binary, 0xA0 + size, key::binary, 0xCD, int::16>>, stack, depth, out)

      float when is_float(float) ->
        acc = <<acc::binary, 0xA0 + size, key::binary, 0xCB, float::float>>
        pairs(rest, acc, stack, depth, out)

      value ->
        acc = <<acc::binary, 0xA0 + size, key::binary>>
        value(value, acc, [{:pairs, rest, key} | stack], depth, out)
    end
  end

  defp pairs([{key, value} | rest], acc, stack, depth, out) do
    case scalar(key, acc, elem(out, 0)) do
      :other ->
        key(key, acc, [{:key, rest, key, value} | stack], depth, out)

      acc ->
        case scalar(value, acc, elem(out, 0)) do
          :other -> other(value, acc, [{:pairs, rest, key} | stack], depth, out)
          acc -> pairs(rest, acc, stack, depth, out)
        end
    end
  end

  defp pairs([], acc, stack, depth, out), do: next(acc, stack, depth - 1, out)

  defp key(key, acc, [_open | below] = stack, depth, out)
       when is_list(key) or is_map(key) or is_tuple(key) do
    case Structs.unhashable(key) do
      nil ->
        other(key, acc, stack, depth, out)

      {_key, []} ->
        fail(:unhashable, key, below, Structs.unhashable_hint(key))

      {culprit, path} ->
        {:error, error} = fail(:unhashable, culprit, stack, Structs.unhashable_hint(culprit))
        {:error, %{error | path: error.path ++ path}}
    end
  end

  defp key(key, acc, stack, depth, out), do: other(key, acc, stack, depth, out)

  defp rows([map | rest], acc, all, stack, depth, out) do
    acc = Append.array_header(acc, map_size(map))
    row(:maps.to_list(map), acc, [{:rows, rest, all} | stack], depth + 1, out)
  end

  defp rows([], acc, _all, stack, depth, out), do: next(acc, stack, depth - 1, out)

  defp row([{key, value} | rest], acc, stack, depth, out) do
    case scalar(value, acc, elem(out, 0)) do
      :other -> other(value, acc, [{:row, rest, key} | stack], depth, out)
      acc -> row(rest, acc, stack, depth, out)
    end
  end

  defp row([], acc, stack, depth, out), do: next(acc, stack, depth - 1, out)

  # Inlined into the loops above.
  defp scalar(int, acc, _face) when is_byte(int), do: <<acc::binary, int>>
  defp scalar(float, acc, _face) when is_float(float), do: <<acc::binary, 0xCB, float::float>>

  defp scalar(string, acc, _face) when is_binary(string) and byte_size(string) < 32,
    do: <<acc::binary, 0xA0 + byte_size(string), string::binary>>

  defp scalar(int, acc, _face) when is_integer(int) and int >= 0 and int <= 0xFF,
    do: <<acc::binary, 0xCC, int>>

  defp scalar(int, acc, _face) when is_integer(int) and int >= 0 and int <= 0xFFFF,
    do: <<acc::binary, 0xCD, int::16>>

  defp scalar(int, acc, _face) when is_integer(int) and int >= 0 and int <= 0xFFFF_FFFF,
    do: <<acc::binary, 0xCE, int::32>>

  defp scalar(nil, acc, face) when face != :erlport, do: <<acc::binary, 0xC0>>
  defp scalar(true, acc, _face), do: <<acc::binary, 0xC3>>
  defp scalar(false, acc, _face), do: <<acc::binary, 0xC2>>
  defp scalar(int, acc, _face) when is_integer(int), do: Append.integer(acc, int)
  # An extension of length 0 says nothing.
  defp scalar(:"", _acc, face) when face != :erlang, do: :other
  defp scalar(atom, acc, face) when is_atom(atom), do: Append.atom(acc, atom, face)
  defp scalar(_term, _acc, _face), do: :other
  @compile {:inline, scalar: 3}

  defp other(string, acc, stack, depth, out) when is_binary(string) do
    case byte_size(string) do
      size when size < 0x100 ->
        next(<<acc::binary, 0xD9, size, string::binary>>, stack, depth, out)

      size when size < @by_reference ->
        next(<<acc::binary, 0xDA, size::16, string::binary>>, stack, depth, out)

      size when size < @out_of_band ->
        by_reference(string, <<acc::binary, 0xDA, size::16>>, stack, depth, out)

      _size ->
        buffer(0, string, acc, stack, depth, out)
    end
  end

  defp other(:"", _acc, stack, _depth, _out),
    do: fail(:empty_atom, :"", stack, "send the empty binary instead")

  defp other(list, acc, stack, depth, out) when is_list(list) do
    case proper_length(list) do
      :improper -> improper(list, acc, stack, depth, out)
      size -> array(size, list, acc, stack, depth, out, keys(list, size, depth, out))
    end
  end

  defp other({:bytes, data}, acc, stack, depth, {:erlang, _, _, _} = out) when is_binary(data),
    do: bytes(data, acc, stack, depth, out)

  defp other({:"$erlport.opaque", :python, sealed} = tuple, acc, stack, depth, out)
       when elem(out, 0) == :erlport and is_binary(sealed) do
    case Handle.open(sealed) do
      {:ok, pickle} -> marked(type(:python_object), [pickle], tuple, acc, stack, depth, out)
      :error -> marked(type(:tuple), Tuple.to_list(tuple), tuple, acc, stack, depth, out)
    end
  end

  defp other(tuple, acc, stack, depth, out) when tuple_size(tuple) < 15 and depth < @max_depth do
    acc = <<acc::binary, 0x91 + tuple_size(tuple), 0xC7, 0, type(:tuple)>>
    items = Tuple.to_list(tuple)
    items(items, acc, items, stack, depth + 1, out)
  end

  defp other(tuple, acc, stack, depth, out) when is_tuple(tuple),
    do: marked(type(:tuple), Tuple.to_list(tuple), tuple, acc, stack, depth, out)

  defp other(struct, acc, stack, depth, {:erlport, _, _, _} = out) when is_struct(struct),
    do: map(struct, acc, stack, depth, out)

  defp other(%Iterator{} = iterator, acc, stack, depth, out) do
    handle = iterator |> Iterator.start() |> Handle.seal()
    ext(type(:iterator), handle, acc, stack, depth, out)
  end

  defp other(%Ref{name: <<name::binary-16>>} = ref, acc, stack, depth, out) do
    {face, chunks, buffers, count} = out
    acc = <<acc::binary, Extension.header(type(:object), 16)::binary, name::binary>>
    next(acc, stack, depth, {face, chunks, [{:ref, ref, stack} | buffers], count})
  end

  defp other(%Opaque{term: term}, acc, stack, depth, out),
    do: ext(type(:opaque), Handle.seal(term), acc, stack, depth, out)

  defp other(%module{} = struct, acc, stack, depth, out) when is_atom(module),
    do: struct |> Structs.lower() |> lowered(struct, acc, stack, depth, out)

  defp other(map, acc, stack, depth, out) when is_map(map), do: map(map, acc, stack, depth, out)

  defp other(bits, _acc, stack, _depth, _out) when is_bitstring(bits) do
    fail(:bitstring, bits, stack, "pad it to whole bytes, or send its bits as a list")
  end

  defp other(fun, acc, stack, depth, out) when is_function(fun),
    do: ext(type(:callable), Handle.seal(fun), acc, stack, depth, out)

  # Pids, ports and references.
  defp other(term, acc, stack, depth, out),
    do: ext(type(:opaque), Handle.seal(term), acc, stack, depth, out)

  defp map(map, _acc, stack, @max_depth, _out), do: too_deep(map, stack)

  defp map(map, acc, stack, depth, out) do
    case map_size(map) do
      size when size <= @max_size ->
        pairs(:maps.to_list(map), Append.map_header(acc, size), stack, depth + 1, out)

      _size ->
        too_large(map, stack)
    end
  end

  defp improper(list, acc, stack, depth, {:erlport, _, _, _} = out),
    do: marked(type(:improper_list), flatten(list), list, acc, stack, depth, out)

  defp improper(list, _acc, stack, _depth, _out),
    do: fail(:improper_list, list, stack, "its tail is no list; make it a proper list")

  # Its tail comes last.
  defp flatten([item | rest]), do: [item | flatten(rest)]
  defp flatten(tail), do: [tail]

  defp lowered({:packed, packed}, _struct, acc, stack, depth, out),
    do: next(<<acc::binary, packed::binary>>, stack, depth, out)

  defp lowered({:marked, type, items}, struct, acc, stack, depth, out),
    do: marked(type, items, struct, acc, stack, depth, out)

  defp lowered({:bytes, data}, _struct, acc, stack, depth, out),
    do: bytes(data, acc, stack, depth, out)

  defp lowered({:term, term}, struct, _acc, [{:key, _, _, _} | stack], _depth, _out)
       when is_unhashable(term),
       do: fail(:unhashable, struct, stack, Structs.unhashable_hint(struct))

  defp lowered({:term, term}, _struct, acc, stack, depth, out),
    do: value(term, acc, stack, depth, out)

  defp lowered({:error, reason, hint}, struct, _acc, stack, _depth, _out),
    do: fail(reason, struct, stack, hint)

  # The maps of rows are one level deeper.
  defp keys(list, size, depth, {:elixir, _, _, _}) when depth < @max_depth - 1,
    do: Rows.keys(list, size)

  defp keys(_list, _size, _depth, _out), do: nil

  defp array(_size, list, _acc, stack, @max_depth, _out, _keys), do: too_deep(list, stack)

  defp array(size, list, _acc, stack, _depth, _out, _keys) when size > @max_size,
    do: too_large(list, stack)

  defp array(size, list, acc, stack, depth, out, nil),
    do: items(list, Append.array_header(acc, size), list, stack, depth + 1, out)

  defp array(size, list, acc, stack, depth, out, keys) do
    acc = <<Append.array_header(acc, size + 2)::binary, 0xC7, 0, type(:rows)>>
    acc = Enum.reduce(keys, Append.array_header(acc, length(keys)), &scalar(&1, &2, :elixir))
    rows(list, acc, list, stack, depth + 1, out)
  end

  defp marked(_type, _items, term, _acc, stack, @max_depth, _out), do: too_deep(term, stack)

  defp marked(type, items, _term, acc, stack, depth, out) do
    acc = <<Append.array_header(acc, length(items) + 1)::binary, 0xC7, 0, type>>
    items(items, acc, items, stack, depth + 1, out)
  end

  defp bytes(data, acc, stack, depth, out) when byte_size(data) >= @out_of_band,
    do: buffer(1, data, acc, stack, depth, out)

  defp bytes(data, acc, stack, depth, out), do: ext(type(:bytes), data, acc, stack, depth, out)

  defp buffer(kind, data, acc, stack, depth, {face, chunks, buffers, count}) do
    acc = <<acc::binary, 0xC7, 5, type(:buffer), kind, count::32>>
    next(acc, stack, depth, {face, chunks, [data | buffers], count + 1})
  end

  defp ext(type, data, acc, stack, depth, out) when byte_size(data) < @by_reference do
    header = Extension.header(type, byte_size(data))
    next(<<acc::binary, header::binary, data::binary>>, stack, depth, out)
  end

  defp ext(type, data, acc, stack, depth, out) do
    header = Extension.header(type, byte_size(data))
    by_reference(data, <<acc::binary, header::binary>>, stack, depth, out)
  end

  defp by_reference(data, acc, stack, depth, {face, chunks, buffers, count}),
    do: next(<<>>, stack, depth, {face, [data, acc | chunks], buffers, count})

  defp proper_length(list) do
    length(list)
  rescue
    ArgumentError -> :improper
  end

  defp too_deep(term, stack),
    do: fail(:too_deep, term, stack, "#{@max_depth} lists and maps around it are the limit")

  defp too_large(term, stack),
    do: fail(:too_large, term, stack, "#{@max_size} elements are the limit")

  @spec fail(EncodeError.reason(), term(), [frame()], String.t()) :: {:error, EncodeError.t()}
  defp fail(reason, value, stack, hint) do
    {:error, %EncodeError{reason: reason, value: value, path: path(stack), hint: hint}}
  end

  defp step({:items, rest, all}), do: length(all) - length(rest) - 1
  defp step({:pairs, _rest, key}), do: key
  defp step({:rows, rest, all}), do: length(all) - length(rest) - 1
  defp step({:row, _rest, key}), do: key
  defp step({:key, _rest, key, _value}), do: key
end
