defmodule ErlangPython.ZMTP.RoutingTableTest do
  use ExUnit.Case, async: true

  alias ErlangPython.ZMTP.RoutingTable

  # The table only compares: any terms stand for processes here.
  defp holder(name), do: %{reader: name, writer: {:writer, name}, socket: name, from: name}

  test "an id has one holder until its reader has ended" do
    {:ok, "id", table} = RoutingTable.claim(RoutingTable.new(0), "id", holder(:a), false)
    assert RoutingTable.claim(table, "id", holder(:b), false) == {:error, :in_use}
    assert {:ok, %{reader: :a}} = RoutingTable.fetch(table, "id")

    assert {%{reader: :a}, nil, table} = RoutingTable.release(table, :a)
    assert RoutingTable.fetch(table, "id") == :error
    assert {:ok, "id", _table} = RoutingTable.claim(table, "id", holder(:b), false)
  end

  test "under a handover the newest claim waits for the old holder" do
    {:ok, "id", table} = RoutingTable.claim(RoutingTable.new(0), "id", holder(:a), true)
    assert {:wait, %{reader: :a}, nil, table} = RoutingTable.claim(table, "id", holder(:b), true)

    assert {:wait, %{reader: :a}, %{reader: :b}, table} =
             RoutingTable.claim(table, "id", holder(:c), true)

    assert {%{reader: :a}, {"id", %{reader: :c}}, table} = RoutingTable.release(table, :a)
    assert {:ok, %{reader: :c}} = RoutingTable.fetch(table, "id")
  end

  test "a waiting connection that ends is forgotten" do
    {:ok, "id", table} = RoutingTable.claim(RoutingTable.new(0), "id", holder(:a), true)
    {:wait, _old, nil, table} = RoutingTable.claim(table, "id", holder(:b), true)
    assert {nil, nil, table} = RoutingTable.release(table, :b)
    assert {%{reader: :a}, nil, _table} = RoutingTable.release(table, :a)
  end

  test "made-up ids have five bytes, begin with zero, wrap around and skip those in use" do
    table = RoutingTable.new(0xFFFFFFFF)
    assert {:ok, <<0, 0xFFFFFFFF::32>>, table} = RoutingTable.claim(table, "", holder(:a), false)
    assert {:ok, <<0, 0::32>>, table} = RoutingTable.claim(table, "", holder(:b), false)
    {:ok, _id, table} = RoutingTable.claim(table, <<0, 1::32>>, holder(:c), false)
    assert {:ok, <<0, 2::32>>, _table} = RoutingTable.claim(table, "", holder(:d), false)
  end

  test "finds a writer's holder" do
    {:ok, _id, table} = RoutingTable.claim(RoutingTable.new(0), "id", holder(:a), false)
    assert %{reader: :a} = RoutingTable.find_writer(table, {:writer, :a})
    assert RoutingTable.find_writer(table, {:writer, :b}) == nil
  end
end
