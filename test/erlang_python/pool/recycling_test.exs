defmodule ErlangPython.Pool.RecyclingTest do
  use ExUnit.Case, async: true

  alias ErlangPython.Pool.Recycling

  # Of the first generation.
  defp recycling(slots),
    do: Enum.reduce(slots, Recycling.new(), &Recycling.add(&2, {&1, 1}))

  defp all(_worker), do: true

  # Each is replaced at once when its turn has come.
  defp order(recycling, ready?) do
    case Recycling.next(recycling, ready?) do
      {:replace, {slot, _generation}, recycling} ->
        [slot | recycling |> Recycling.filled(slot) |> order(ready?)]

      {:done, _recycling} ->
        []
    end
  end

  test "one at a time, in the order in which they were asked for" do
    {:replace, {2, 1}, recycling} = [2, 1, 3] |> recycling() |> Recycling.next(&all/1)
    assert Recycling.current?(recycling, {2, 1})
    refute Recycling.current?(recycling, {1, 1})
    assert Recycling.next(recycling, &all/1) == :busy
    assert recycling |> Recycling.filled(3) |> Recycling.next(&all/1) == :busy
    assert recycling |> Recycling.filled(2) |> order(&all/1) == [1, 3]
  end

  test "nothing to do is done" do
    assert {:done, _recycling} = Recycling.next(Recycling.new(), &all/1)
  end

  test "who is asked for twice has one turn, also while that lasts" do
    assert [1, 2, 1, 2] |> recycling() |> order(&all/1) == [1, 2]
    {:replace, {1, 1}, recycling} = [1] |> recycling() |> Recycling.next(&all/1)

    assert recycling |> Recycling.add({1, 1}) |> Recycling.filled(1) |> order(&all/1) ==
             []

    # Its successor is another.
    next = Recycling.add(recycling, {1, 2})
    assert next |> Recycling.filled(1) |> order(&all/1) == [1]
  end

  test "the next has its turn, too, when one takes too long" do
    {:replace, {1, 1}, recycling} = [1, 2, 3] |> recycling() |> Recycling.next(&all/1)
    {:replace, {2, 1}, recycling} = recycling |> Recycling.over() |> Recycling.next(&all/1)
    # That its place is filled at last is no end of the current turn.
    assert recycling |> Recycling.filled(1) |> Recycling.next(&all/1) == :busy
    assert recycling |> Recycling.filled(2) |> order(&all/1) == [3]
  end

  test "those that are not ready are left out" do
    assert [1, 2, 3, 4] |> recycling() |> order(fn {slot, _} -> slot in [2, 4] end) ==
             [2, 4]

    assert [1, 2] |> recycling() |> order(fn _worker -> false end) == []
  end

  test "where one can't be replaced, nobody else's turn comes" do
    {:replace, {1, 1}, recycling} = [1, 2] |> recycling() |> Recycling.next(&all/1)
    assert Recycling.queued?(recycling, {2, 1})
    refute Recycling.queued?(recycling, {2, 2})
    assert {:done, _recycling} = recycling |> Recycling.failed(1) |> Recycling.next(&all/1)
    elsewhere = Recycling.failed(recycling, 2)
    refute Recycling.queued?(elsewhere, {2, 1})
    assert Recycling.current?(elsewhere, {1, 1})
  end
end
