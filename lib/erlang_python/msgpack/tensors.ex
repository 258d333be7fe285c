defmodule ErlangPython.MessagePack.Tensors do
  @moduledoc false
  # A tensor whose type, shape and data agree. NumPy's array interface names the type:
  # byte order, kind, bytes per element (https://numpy.org/doc/stable/reference/arrays.interface.html).

  alias ErlangPython.MessagePack.DecodeError
  alias ErlangPython.Tensor

  # NumPy's own limit since 2.0.
  @max_dimensions 64

  @spec make(term(), term(), term()) :: {:ok, Tensor.t()} | :error
  def make(dtype, shape, data)
      when is_binary(dtype) and is_list(shape) and length(shape) <= @max_dimensions and
             is_binary(data) do
    with {:ok, item_size} <- item_size(dtype),
         true <- Enum.all?(shape, &(is_integer(&1) and &1 >= 0)),
         true <- Enum.product([item_size | shape]) == byte_size(data) do
      {:ok, %Tensor{dtype: dtype, shape: List.to_tuple(shape), data: data}}
    else
      _invalid -> :error
    end
  end

  def make(_dtype, _shape, _data), do: :error

  # Of an array without elements, which takes a few bytes: lists have a cell for each of its rows all the same.
  @max_empty_rows 1_024

  @doc "The same as nested lists."
  @spec list(term(), term(), term()) ::
          {:ok, list() | Tensor.element()} | :error | {:error, DecodeError.reason()}
  def list(dtype, shape, data) do
    with {:ok, tensor} <- make(dtype, shape, data) do
      cond do
        not Tensor.list?(dtype) -> {:error, {:no_list, dtype}}
        data == "" and empty_rows(shape) > @max_empty_rows -> :error
        true -> {:ok, Tensor.to_list(tensor)}
      end
    end
  end

  defp empty_rows(shape), do: shape |> Enum.take_while(&(&1 > 0)) |> Enum.product()

  # Kind O holds pointers.
  defp item_size(<<order, kind, rest::binary>>) when order in [?<, ?>, ?|] and kind != ?O do
    case Integer.parse(binary_part(rest, 0, min(byte_size(rest), 20))) do
      {size, _unit} when size >= 0 -> {:ok, size * width(kind)}
      _invalid -> :error
    end
  end

  defp item_size(_dtype), do: :error

  # Kind U counts code points of four bytes.
  defp width(?U), do: 4
  defp width(_kind), do: 1
end
