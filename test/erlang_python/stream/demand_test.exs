defmodule ErlangPython.Stream.DemandTest do
  use ExUnit.Case, async: true

  alias ErlangPython.Stream.Demand

  test "doubles while pulls are filled at once, up to a limit" do
    grown = Stream.iterate(1, &Demand.next(&1, &1, 100)) |> Enum.take(14)
    assert Enum.take(grown, 5) == [1, 2, 4, 8, 16]
    assert List.last(grown) == 4_096
  end

  test "falls to what came in time" do
    assert Demand.next(64, 10, 2_500) == 10
    assert Demand.next(64, 0, 50_000) == 1
  end

  test "stays at one item for a generator that takes its time for each" do
    assert Demand.next(1, 1, 20_000) == 1
  end
end
