defmodule ErlangPython.Pool.OverflowTest do
  use ExUnit.Case, async: true

  alias ErlangPython.Pool.Overflow

  # `"fab"`: slot 1 is free, 2 set aside, 3 closing... in a pool of `count`.
  defp slots(letters) do
    for {letter, slot} <- letters |> String.graphemes() |> Enum.with_index(1),
        letter != "-",
        into: %{} do
      {slot,
       %{
         phase: if(letter == "c", do: :closing, else: :ready),
         set_aside: letter == "a"
       }}
    end
  end

  defp none(_slot), do: false

  test "one more than are set aside, as long as that is allowed" do
    for {letters, count, max, missing} <- [
          {"ff", 2, 2, []},
          {"fa", 2, 2, []},
          {"aa", 2, 0, []},
          {"aa", 2, 1, [3]},
          {"aa", 2, 2, [3]},
          {"aaf", 2, 2, []},
          {"aaa", 2, 2, [4]},
          {"aaa", 2, 1, []},
          {"aaaa", 2, 2, []},
          {"faa", 2, 2, []},
          # A slot is free when its worker has ended.
          {"aac", 2, 2, [4]},
          {"aac", 2, 1, []},
          {"a-a", 1, 4, [2]}
        ] do
      assert {letters, Overflow.missing(slots(letters), count, max)} == {letters, missing}
    end
  end

  test "those that are not needed end, but for those that hold something" do
    for {letters, count, max, superfluous} <- [
          {"ff", 2, 2, []},
          {"fff", 2, 2, [3]},
          {"ffff", 2, 2, [4, 3]},
          {"aaf", 2, 2, []},
          {"aaff", 2, 2, [4]},
          # The context of the third stays where it is.
          {"ffa", 2, 2, []},
          {"faaf", 2, 2, [4]},
          {"ffc", 2, 2, []}
        ] do
      assert {letters, Overflow.superfluous(slots(letters), count, max, &none/1)} ==
               {letters, superfluous}
    end

    assert Overflow.superfluous(slots("ffff"), 2, 2, &(&1 == 4)) == [3]
    assert Overflow.any_superfluous?(slots("fff"), 2, 2)
    refute Overflow.any_superfluous?(slots("aaf"), 2, 2)
  end

  test "one that has ended starts again only if it is needed" do
    assert Overflow.wanted?(slots("aaf"), 2, 2, 3)
    assert Overflow.wanted?(slots("aaa"), 2, 2, 3)
    refute Overflow.wanted?(slots("fff"), 2, 2, 3)
    refute Overflow.wanted?(slots("ffa"), 2, 2, 3)
    refute Overflow.wanted?(slots("aac"), 2, 2, 3)
    refute Overflow.wanted?(slots("aaf"), 2, 0, 3)
  end
end
