defmodule ErlangPython.Pool.Intake.PinningTest do
  use ExUnit.Case, async: true

  alias ErlangPython.Callbacks.Origin
  alias ErlangPython.Pool.Intake.Pinning

  @place {2, 7}

  defp origin(channel, {slot, generation} \\ @place) do
    %Origin{
      handle: nil,
      slot: slot,
      generation: generation,
      worker: self(),
      writer: self(),
      channel: channel,
      parent: 1,
      id: 1
    }
  end

  test "a process that is in no callback goes to the main thread" do
    assert Pinning.way(@place, nil, nil) == :main
  end

  test "the process of a callback goes into the thread that waits for it" do
    for channel <- [:main, {:thread, "1"}] do
      own = origin(channel)
      assert Pinning.way(@place, own, own) == :nested
    end
  end

  test "no thread waits for a coroutine" do
    own = origin({:loop, "1"})
    assert Pinning.way(@place, own, own) == :beside
  end

  test "a process that a callback's has started goes beside" do
    assert Pinning.way(@place, nil, origin(:main)) == :beside
  end

  test "a callback of another worker, or of an earlier one in this slot, keeps nothing from ending" do
    for place <- [{1, 7}, {2, 6}] do
      own = origin(:main, place)
      assert Pinning.way(@place, own, own) == :main
    end
  end
end
