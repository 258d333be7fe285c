defmodule ErlangPython.Pool.RecyclingTest do
  use ExUnit.Case, async: true

  alias ErlangPython.Pool.Recycling

  defp recycling(slots), do: Enum.reduce(slots, Recycling.new(), &Recycling.add(&2, &1))
  defp all(_slot), do: true

  # Each is replaced at once when its turn has come.
  defp order(recycling, ready?) do
    case Recycling.next(recycling, ready?) do
      {:replace, slot, recycling} -> [slot | recycling |> Recycling.over() |> order(ready?)]
      {:done, _recycling} -> []
    end
  end

  test "one at a time, in the order in which they were asked for" do
    {:replace, 2, recycling} = [2, 1, 3] |> recycling() |> Recycling.next(&all/1)
    assert Recycling.current?(recycling, 2)
    refute Recycling.current?(recycling, 1)
    assert Recycling.next(recycling, &all/1) == :busy
    assert recycling |> Recycling.over() |> order(&all/1) == [1, 3]
  end

  test "nothing to do is done" do
    assert {:done, _recycling} = Recycling.next(Recycling.new(), &all/1)
  end

  test "who is asked for twice has one turn, also while that lasts" do
    assert [1, 2, 1, 2] |> recycling() |> order(&all/1) == [1, 2]
    {:replace, 1, recycling} = [1] |> recycling() |> Recycling.next(&all/1)
    assert recycling |> Recycling.add(1) |> Recycling.over() |> order(&all/1) == []
    # Afterwards it may be wanted again.
    assert recycling |> Recycling.over() |> Recycling.add(1) |> order(&all/1) == [1]
  end

  test "those that are not ready are left out" do
    assert [1, 2, 3, 4] |> recycling() |> order(&(&1 in [2, 4])) == [2, 4]
    assert [1, 2] |> recycling() |> order(fn _slot -> false end) == []
  end
end
