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

  `Nx` tensors can be sent as they are; `to_nx/1` turns a result into one.
  """

  @enforce_keys [:dtype, :shape, :data]
  defstruct [:dtype, :shape, :data]

  @type t :: %__MODULE__{dtype: String.t(), shape: tuple(), data: binary()}

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

  @dtypes @nx_types |> Map.delete("b1") |> Map.new(fn {dtype, type} -> {type, dtype} end)

  @native if System.endianness() == :little, do: "<", else: ">"

  @doc """
  An Nx tensor of the same shape and data.

  Raises `ArgumentError` if the application has no Nx, if Nx has no such type, or if the
  array is not in this machine's byte order.
  """
  @spec to_nx(t()) :: struct()
  def to_nx(%__MODULE__{dtype: dtype, shape: shape, data: data}) do
    if not Code.ensure_loaded?(Nx), do: raise(ArgumentError, "Nx is not among the dependencies")

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

  # Nx is no dependency: a call that the compiler could read would make it warn.
  defp nx(function, args), do: apply(Nx, function, args)

  defp nx_type(<<@native, name::binary>>), do: @nx_types[name]
  defp nx_type(<<"|", name::binary>>), do: @nx_types[name]
  defp nx_type(_dtype), do: nil

  defp order(<<_kind, "1">>), do: "|"
  defp order(_dtype), do: @native
end
