defmodule ErlangPython.MessagePack.Rows do
  @moduledoc false
  # Lists of maps that all have the same atoms as keys, such as rows of a database (pure). Their keys travel
  # once: each atom in a message costs Python a call of Python code.

  # A shorter list costs Python more to read a second time, with hooks, than its keys cost.
  @least 8

  @doc "The keys of all maps of a list of so many elements; nil if they are not alike, or no such maps."
  @spec keys([term()], non_neg_integer()) :: [atom(), ...] | nil
  def keys([first | rest], size) when size >= @least and is_map(first) do
    keys = :maps.keys(first)
    if keys != [] and Enum.all?(keys, &name?/1) and alike?(rest, keys), do: keys
  end

  def keys(_list, _size), do: nil

  defp name?(key), do: is_atom(key) and key not in [:"", :__struct__]

  defp alike?(maps, keys), do: Enum.all?(maps, &(is_map(&1) and :maps.keys(&1) == keys))

  @doc "The maps of these keys and rows of values."
  @spec maps([term()], [term()]) :: {:ok, [map()]} | :error | {:error, :duplicate_key}
  def maps([_ | _] = keys, [_ | _] = rows), do: maps(rows, keys, length(keys), [])
  def maps(_keys, _rows), do: :error

  defp maps([], _keys, _size, maps), do: {:ok, Enum.reverse(maps)}

  defp maps([row | rows], keys, size, maps) when length(row) == size do
    map = keys |> Enum.zip(row) |> :maps.from_list()

    if map_size(map) == size,
      do: maps(rows, keys, size, [map | maps]),
      else: {:error, :duplicate_key}
  end

  defp maps(_rows, _keys, _size, _maps), do: :error
end
