defmodule ErlangPython.Pool.PlacementTest do
  use ExUnit.Case, async: true

  alias ErlangPython.Pool.Placement

  # `{contexts, requests}` of the slots 1, 2, ...
  defp candidates(loads) do
    for {{contexts, requests}, slot} <- Enum.with_index(loads, 1),
        do: %{slot: slot, contexts: contexts, requests: requests, worn: false}
  end

  test "one of its own: with the fewest contexts, then the fewest requests" do
    for {loads, slot} <- [
          {[], nil},
          {[{0, 0}], 1},
          {[{1, 0}, {0, 5}], 2},
          {[{0, 2}, {0, 1}, {0, 3}], 2},
          {[{0, 0}, {0, 0}], 1}
        ] do
      assert {loads, Placement.choose(candidates(loads), :dedicated, 2)} == {loads, slot}
    end
  end

  test "a shared one: with the fewest contexts, whatever it runs, then the fewest requests" do
    for {loads, slot} <- [
          {[], nil},
          {[{2, 0}, {1, 9}], 2},
          {[{1, 0}, {1, 0}], 1},
          {[{1, 2}, {1, 0}, {1, 1}], 2}
        ] do
      assert {loads, Placement.choose(candidates(loads), :shared, 2)} == {loads, slot}
    end
  end

  test "one that has served its requests only if there is no other, and then always the same" do
    worn = for candidate <- candidates([{0, 0}, {7, 9}]), do: %{candidate | worn: true}
    fresh = %{slot: 3, contexts: 9, requests: 9, worn: false}

    for mode <- [:dedicated, :shared],
        do: assert(Placement.choose(worn ++ [fresh], mode, 3) == 3)

    assert Placement.choose(worn, :shared, 2) == 1
    assert worn |> Enum.reverse() |> Placement.choose(:shared, 2) == 1
  end

  test "a shared one goes to an extra worker only if there is no other" do
    assert Placement.choose(candidates([{5, 0}, {4, 0}, {0, 0}]), :shared, 2) == 2
    assert Placement.choose(candidates([{5, 0}, {4, 0}, {0, 0}]), :dedicated, 2) == 3
    [_, _, extra] = candidates([{5, 0}, {4, 0}, {0, 0}])
    assert Placement.choose([extra], :shared, 2) == 3
  end
end
