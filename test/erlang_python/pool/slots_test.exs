defmodule ErlangPython.Pool.SlotsTest do
  use ExUnit.Case, async: true

  import Bitwise, only: [bsl: 2]

  alias ErlangPython.Pool.{Handle, Options, Slots}

  test "each start of a pool has ids of its own, also on another node, and on one that came back" do
    nodes = [{:a@host, 1}, {:a@host, 2}, {:b@host, 1}, {:nonode@nohost, 0}]
    first = for node <- nodes, start <- 1..100, do: Slots.first_id(start, node)
    assert Enum.uniq(first) == first
    # Room for 2^32, and no bignums.
    assert Enum.all?(first, &(rem(&1, bsl(1, 32)) == 0 and &1 < bsl(1, 58)))
  end

  test "a window is limited whether its slot is held or not" do
    handle = struct(Handle, counters: Slots.new(), options: %Options{window: 8})

    for {size, most, limited} <- [
          {8, 3, 3},
          {-8, 3, -3},
          {2, 3, 2},
          {-2, 0, 0},
          {2, :infinity, 2}
        ] do
      Slots.put_window(handle, 1, size)
      Slots.limit_window(handle, 1, most)
      assert Slots.window(handle, 1) == limited
    end

    Slots.put_window(handle, 1, 8)
    assert Slots.hold(handle, 1, 5)
    Slots.limit_window(handle, 1, 2)
    assert Slots.let_go(handle, 1, 5)
    assert Slots.window(handle, 1) == 2
  end

  test "a pool's first workers have different numbers of requests left, later ones the whole" do
    handle = struct(Handle, counters: Slots.new(), options: %Options{max_requests: 10})
    Slots.put_size(handle, 4)

    left = fn generation ->
      for slot <- 1..5 do
        Slots.reset_served(handle, slot, generation)
        Slots.left(handle, slot)
      end
    end

    assert left.(1) == [3, 5, 8, 10, 10]
    assert left.(2) == [10, 10, 10, 10, 10]
    Slots.add_served(handle, 1, 4)
    assert Slots.left(handle, 1) == 6
  end
end
