defmodule ErlangPython.Pool.RosterTest do
  use ExUnit.Case, async: true

  alias ErlangPython.Pool.Roster

  # Slots 1, 2, ... in these phases; nil is an empty slot.
  defp roster(phases) do
    for {phase, slot} <- Enum.with_index(phases, 1), phase != nil, reduce: %{} do
      roster -> roster |> start(slot) |> Roster.put_phase(slot, phase)
    end
  end

  defp start(roster, slot) do
    Roster.put_started(roster, %{
      slot: slot,
      generation: 10 * slot,
      worker: self(),
      ref: make_ref(),
      launched: 0
    })
  end

  test "a worker starts, is ready, and ends" do
    roster = start(%{}, 1)
    assert {:ok, %{phase: :starting, set_aside: false, os_pid: nil}} = Roster.fetch(roster, 1, 10)
    roster = Roster.put_ready(roster, 1, 4711, %{"python" => "3.12.1"})
    assert {:ok, %{phase: :ready, os_pid: 4711, hello: hello}} = Roster.fetch(roster, 1, 10)
    assert hello == %{"python" => "3.12.1"}
    assert %{1 => %{set_aside: true}} = Roster.set_aside(roster, 1, true)
    waiting = Roster.put_waiting(roster, 1)

    assert {:ok, %{phase: :waiting, worker: nil, ref: nil, os_pid: nil}} =
             Roster.fetch(waiting, 1, 10)
  end

  test "a report of an earlier generation is of nobody's" do
    roster = roster([:ready])
    assert Roster.fetch(roster, 1, 9) == :error
    assert Roster.fetch(roster, 2, 20) == :error
  end

  test "who has ended is found by the monitor" do
    roster = roster([:ready, :waiting, :starting])
    assert Roster.monitored(roster, roster[3].ref) == roster[3]
    assert Roster.monitored(roster, make_ref()) == nil
  end

  test "who takes requests, in the order of the slots" do
    assert Roster.running(roster([:ready, :starting, :ready, :draining])) == [{1, 10}, {3, 30}]
    many = roster(List.duplicate(:ready, 40))
    assert many |> Roster.running() |> Enum.map(&elem(&1, 0)) == Enum.to_list(1..40)
    assert Roster.running(%{}) == []
  end

  test "a pool is whole when each of its workers was ready; extra ones don't matter" do
    for {phases, whole?} <- [
          {[:ready, :ready], true},
          {[:ready, :draining], true},
          {[:ready, :starting], false},
          {[:ready, :waiting], false},
          {[:ready, :closing], false},
          {[:ready, nil], false},
          {[:ready, :ready, :starting], true}
        ] do
      assert {phases, Roster.whole?(roster(phases), 2)} == {phases, whole?}
    end
  end

  test "is there any in one of these phases?" do
    roster = roster([:ready, :draining])
    assert Roster.any?(roster, [:starting, :draining])
    refute Roster.any?(roster, [:starting])
    refute Roster.any?(%{}, [:ready])
  end

  test "slots above the count are looked at until they are empty" do
    assert Roster.last_slot(roster([:ready, :ready, nil, :closing]), 2) == 4
    assert Roster.last_slot(roster([:ready]), 2) == 2
    assert Roster.last_slot(%{}, 0) == 0
  end
end
