defmodule ErlangPython.Pool.SlotsTest do
  use ExUnit.Case, async: true

  import Bitwise, only: [bsl: 2]

  alias ErlangPython.Pool.Slots

  test "each start of a pool has ids of its own, also on another node, and on one that came back" do
    nodes = [{:a@host, 1}, {:a@host, 2}, {:b@host, 1}, {:nonode@nohost, 0}]
    first = for node <- nodes, start <- 1..100, do: Slots.first_id(start, node)
    assert Enum.uniq(first) == first
    # Room for 2^32, and no bignums.
    assert Enum.all?(first, &(rem(&1, bsl(1, 32)) == 0 and &1 < bsl(1, 58)))
  end
end
