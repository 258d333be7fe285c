defmodule ErlangPython.MessagePack.Structs do
  @moduledoc false
  # What a struct is on the wire. Libraries that are no dependency (Decimal, Nx, Explorer, and Duration
  # before Elixir 1.17) are recognised by their struct's name alone.

  import ErlangPython.MessagePack.Extension, only: [type: 1, pack: 2]

  alias ErlangPython.Charlist
  alias ErlangPython.MessagePack.{Decimals, EncodeError, Regexes, Tensors, Times}

  @typedoc """
    * `:packed` - these bytes
    * `:marked` - a marked array of these items
    * `:bytes` - explicit bytes
    * `:term` - another term in its place
  """
  @type lowered ::
          {:packed, binary()}
          | {:marked, integer(), [term()]}
          | {:bytes, binary()}
          | {:term, term()}
          | {:error, EncodeError.reason(), hint :: String.t()}

  @spec lower(struct()) :: lowered()
  def lower(%ErlangPython.Bytes{data: data}) when is_binary(data), do: {:bytes, data}
  def lower(%ErlangPython.Float{value: value}), do: float(value)

  def lower(%ErlangPython.Duration{microseconds: us}) when is_integer(us),
    do: Times.pack_microseconds(us)

  def lower(%ErlangPython.Tensor{dtype: dtype, shape: shape, data: data} = tensor)
      when is_tuple(shape) do
    case Tensors.make(dtype, Tuple.to_list(shape), data) do
      {:ok, ^tensor} ->
        {:marked, type(:tensor), [dtype, Tuple.to_list(shape), %ErlangPython.Bytes{data: data}]}

      :error ->
        {:error, :invalid_struct, "its dtype, shape and data do not agree"}
    end
  end

  def lower(%ErlangPython.Arrow{stream: stream}) when is_binary(stream),
    do: {:marked, type(:dataframe), [%ErlangPython.Bytes{data: stream}]}

  def lower(%MapSet{} = set), do: set |> MapSet.to_list() |> set()
  def lower(%Date{} = date), do: Times.pack_date(date)
  def lower(%Time{} = time), do: Times.pack_time(time)
  def lower(%NaiveDateTime{} = naive), do: Times.pack_naive(naive)
  def lower(%DateTime{} = datetime), do: Times.pack_datetime(datetime)

  def lower(%Range{first: first, last: last, step: step}),
    do: {:marked, type(:range), [first, last, step]}

  def lower(%Regex{} = regex), do: regex(regex)
  def lower(%URI{} = uri), do: uri(uri)

  def lower(%{__struct__: Decimal, sign: _sign, coef: _coef, exp: _exp} = decimal),
    do: {:packed, pack(type(:decimal), Decimals.to_text(decimal))}

  def lower(%{__struct__: Duration, microsecond: _us} = duration),
    do: Times.pack_duration(duration)

  def lower(%{__struct__: Nx.Tensor} = tensor), do: nx(tensor)

  def lower(%{__struct__: Explorer.DataFrame} = dataframe),
    do: dataframe |> ErlangPython.Arrow.from_explorer() |> lower()

  def lower(%module{})
      when module in [
             ErlangPython.Arrow,
             ErlangPython.Bytes,
             ErlangPython.Duration,
             ErlangPython.Ref,
             ErlangPython.Tensor
           ],
      do: {:error, :invalid_struct, "a field of it has the wrong type"}

  def lower(struct), do: {:term, ErlangPython.Encoder.encode(struct)}

  @doc "Does this term become a Python object that no dict or set can hold?"
  defguard is_unhashable(term)
           when is_list(term) or (is_map(term) and not is_map_key(term, :__struct__))

  @doc "What keeps a term from being a key in Python, and its path in it."
  @spec unhashable(term()) :: {term(), path :: [non_neg_integer()]} | nil
  def unhashable(term) when is_unhashable(term), do: {term, []}
  def unhashable(%MapSet{} = set), do: {set, []}

  def unhashable(tuple) when is_tuple(tuple) do
    tuple
    |> Tuple.to_list()
    |> Enum.with_index()
    |> Enum.find_value(fn {item, index} ->
      with {culprit, path} <- unhashable(item), do: {culprit, [index | path]}
    end)
  end

  def unhashable(_term), do: nil

  @spec unhashable_hint(term()) :: String.t()
  def unhashable_hint(term) do
    string =
      if Charlist.text?(term), do: ~s| (an Erlang string is a list: write <<"k">>)|, else: ""

    "in Python, lists, dicts and sets cannot be keys of a dict, nor lists and dicts " <>
      "members of a set; use a tuple" <> string
  end

  # Its fields may be anything.
  defp uri(uri) do
    {:term, URI.to_string(uri)}
  rescue
    _error in [ArgumentError, FunctionClauseError, Protocol.UndefinedError] ->
      {:error, :invalid_struct, "a field of it has the wrong type"}
  end

  defp set(items) do
    case Enum.find_value(items, &unhashable_member/1) do
      nil -> {:marked, type(:set), items}
      {culprit, _path} -> {:error, :unhashable, unhashable_hint(culprit)}
    end
  end

  # It becomes a frozenset.
  defp unhashable_member(%MapSet{}), do: nil
  defp unhashable_member(item), do: unhashable(item)

  defp float(:nan), do: {:packed, <<0xCB, 0x7FF8_0000_0000_0000::64>>}
  defp float(:infinity), do: {:packed, <<0xCB, 0x7FF0_0000_0000_0000::64>>}
  defp float(:neg_infinity), do: {:packed, <<0xCB, 0xFFF0_0000_0000_0000::64>>}
  defp float(value) when is_float(value), do: {:term, value}
  defp float(_value), do: {:error, :invalid_struct, "its value is no float"}

  defp regex(regex) do
    case Regexes.flags(regex) do
      {:ok, flags} ->
        {:marked, type(:regex), [Regex.source(regex), flags]}

      :error ->
        {:error, :no_equivalent,
         "Python knows the regular expression flags i, m, s, u and x only"}
    end
  end

  defp nx(tensor) do
    case ErlangPython.Tensor.from_nx(tensor) do
      {:ok, tensor} ->
        lower(tensor)

      :error ->
        {:error, :no_equivalent, "NumPy has no such element type; convert the tensor first"}
    end
  end
end
