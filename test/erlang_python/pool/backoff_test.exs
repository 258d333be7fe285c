defmodule ErlangPython.Pool.BackoffTest do
  use ExUnit.Case, async: true

  alias ErlangPython.Pool.Backoff

  test "does not wait before the first start" do
    assert Backoff.wait_ms(0, 0.5) == 0
  end

  test "doubles with each failure, up to 30 seconds" do
    assert Enum.map(1..4, &Backoff.wait_ms(&1, 1.0)) == [100, 200, 400, 800]
    assert Backoff.wait_ms(1_000, 1.0) == 30_000
  end

  test "spreads over the upper half" do
    assert Backoff.wait_ms(3, 0.0) == 200
    assert Backoff.wait_ms(3, 1.0) == 400
  end
end
