defmodule ErlangPython.Tensor do
  @moduledoc """
  A NumPy array: the type of its elements, its shape, and its data in C order.

      iex> data = <<1.0::float-little, 2.0::float-little>>
      iex> tensor = %ErlangPython.Tensor{dtype: "<f8", shape: {2}, data: data}
      iex> ErlangPython.call("numpy", "sum", [tensor])
      {:ok, 3.0}

  An array in a result comes back as this struct, without a copy of its data where it is
  64 KiB or more. `dtype` is NumPy's type string: byte order (`<`, `>`, or `|` where it does
  not matter), kind and size in bytes.

  `Nx` tensors can be sent as they are; `to_nx/1` turns a result into one. `to_list/1` makes plain lists of it.
  """

  alias ErlangPython.MessagePack.Tensors

  @enforce_keys [:dtype, :shape, :data]
  defstruct [:dtype, :shape, :data]

  @type t :: %__MODULE__{dtype: String.t(), shape: tuple(), data: binary()}

  @typedoc "An element of a tensor in Elixir."
  @type element :: boolean() | number() | :nan | :infinity | :neg_infinity

  # Nx has no strings, dates or objects, NumPy no bfloat16.
  @nx_types %{
    "b1" => {:u, 8},
    "u1" => {:u, 8},
    "u2" => {:u, 16},
    "u4" => {:u, 32},
    "u8" => {:u, 64},
    "i1" => {:s, 8},
    "i2" => {:s, 16},
    "i4" => {:s, 32},
    "i8" => {:s, 64},
    "f2" => {:f, 16},
    "f4" => {:f, 32},
    "f8" => {:f, 64},
    "c8" => {:c, 64},
    "c16" => {:c, 128}
  }

  # Of the elements that are one number.
  @bits [8, 16, 32, 64]

  @dtypes @nx_types |> Map.delete("b1") |> Map.new(fn {dtype, type} -> {type, dtype} end)

  @native if System.endianness() == :little, do: "<", else: ">"

  @doc """
  An Nx tensor of the same shape and data.

  Raises `ArgumentError` if the application has no Nx, if Nx has no such type, or if the
  array is not in this machine's byte order.
  """
  @spec to_nx(t()) :: struct()
  def to_nx(%__MODULE__{dtype: dtype, shape: shape, data: data}) do
    if not Code.ensure_loaded?(Nx) do
      raise ArgumentError,
            "Nx is not among the dependencies; ErlangPython.Tensor.to_list/1 does without it"
    end

    type = nx_type(dtype) || raise(ArgumentError, "Nx has no type for a NumPy array of #{dtype}")

    nx(:reshape, [nx(:from_binary, [data, type]), shape])
  end

  def to_nx(other),
    do: raise(ArgumentError, "expected an ErlangPython.Tensor, got: #{inspect(other)}")

  @doc """
  The tensor that an Nx tensor is sent as, or `:error` for a type that NumPy lacks.
  """
  @spec from_nx(struct()) :: {:ok, t()} | :error
  def from_nx(tensor) do
    with {:ok, dtype} <- Map.fetch(@dtypes, nx(:type, [tensor])) do
      {:ok,
       %__MODULE__{
         dtype: order(dtype) <> dtype,
         shape: nx(:shape, [tensor]),
         data: nx(:to_binary, [tensor])
       }}
    end
  end

  @doc """
  The elements as numbers or booleans, in lists nested by shape: the one element itself if that is `{}`.

      iex> tensor = ErlangPython.call!("numpy", "array", [[[1, 2], [3, 4]]])
      iex> {tensor.shape, ErlangPython.Tensor.to_list(tensor)}
      {{2, 2}, [[1, 2], [3, 4]]}

  Floats that Erlang lacks are the atoms `:nan`, `:infinity` and `:neg_infinity`. Takes both byte orders.

  Raises `ArgumentError` for what is no tensor, and for elements that are no booleans, integers or floats of up to 64
  bits, such as complex numbers and dates.
  """
  @spec to_list(t()) :: list() | element()
  def to_list(%__MODULE__{dtype: dtype, shape: shape, data: data}) do
    axes = if is_tuple(shape), do: Tuple.to_list(shape)

    if Tensors.make(dtype, axes, data) == :error,
      do: raise(ArgumentError, "the tensor's dtype, shape and data do not agree")

    {order, kind, bits} =
      element_type(dtype) ||
        raise(
          ArgumentError,
          "Elixir has no numbers for the elements of a NumPy array of #{dtype}"
        )

    order |> integers(bits, data) |> Enum.map(&element(kind, bits, &1)) |> nest(axes)
  end

  def to_list(other),
    do: raise(ArgumentError, "expected an ErlangPython.Tensor, got: #{inspect(other)}")

  @doc false
  @spec list?(dtype :: String.t()) :: boolean()
  def list?(dtype), do: element_type(dtype) != nil

  defp element_type(<<order, name::binary>>) when order in [?<, ?>, ?|] do
    case @nx_types[name] do
      {:c, _bits} -> nil
      {_kind, bits} -> {order, :binary.first(name), bits}
      nil -> nil
    end
  end

  defp element_type(_dtype), do: nil

  # Whatever they are, in this order of their bytes.
  for bits <- @bits do
    defp integers(?>, unquote(bits), data), do: for(<<int::unquote(bits)-big <- data>>, do: int)
    defp integers(_, unquote(bits), data), do: for(<<int::unquote(bits)-little <- data>>, do: int)
  end

  defp element(?u, _bits, int), do: int
  defp element(?b, _bits, int), do: int != 0

  for bits <- @bits do
    defp element(?i, unquote(bits), int) do
      <<signed::unquote(bits)-signed>> = <<int::unquote(bits)>>
      signed
    end
  end

  defp element(?f, bits, int), do: float(<<int::size(bits)>>)

  # IEEE 754: all bits of the exponent are set where it is no number.
  for {bits, exponent, fraction} <- [{16, 5, 10}, {32, 8, 23}, {64, 11, 52}] do
    defp float(<<float::unquote(bits)-float>>), do: float
    defp float(<<0::1, _exponent::unquote(exponent), 0::unquote(fraction)>>), do: :infinity
    defp float(<<1::1, _exponent::unquote(exponent), 0::unquote(fraction)>>), do: :neg_infinity
    defp float(<<_nan::unquote(bits)>>), do: :nan
  end

  defp nest([element], []), do: element
  defp nest(elements, [_size]), do: elements

  defp nest(elements, [size | inner]) do
    case Enum.product(inner) do
      0 -> List.duplicate(nest([], inner), size)
      each -> elements |> Enum.chunk_every(each) |> Enum.map(&nest(&1, inner))
    end
  end

  # Nx is no dependency: a call that the compiler could read would make it warn.
  defp nx(function, args), do: apply(Nx, function, args)

  defp nx_type(<<@native, name::binary>>), do: @nx_types[name]
  defp nx_type(<<"|", name::binary>>), do: @nx_types[name]
  defp nx_type(_dtype), do: nil

  defp order(<<_kind, "1">>), do: "|"
  defp order(_dtype), do: @native
end
