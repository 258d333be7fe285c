defmodule ErlangPython.Pool.FailuresTest do
  use ExUnit.Case, async: true

  alias ErlangPython.Error
  alias ErlangPython.Pool.Failures

  @error %Error{kind: :no_workers, message: "a Python worker could not start", executed: :no}

  defp failed(failures, times),
    do:
      Enum.reduce(1..times//1, failures, fn _n, failures -> Failures.failed(failures, @error) end)

  test "one failure is enough for a pool that never had a worker" do
    assert Failures.hopeless?(failed(Failures.new(), 1))
    assert failed(Failures.new(), 1).error == @error
  end

  test "one that had gets three tries" do
    had = Failures.over(Failures.new())
    refute Failures.hopeless?(had)
    refute Failures.hopeless?(failed(had, 2))
    assert Failures.hopeless?(failed(had, 3))
  end

  test "a worker that is ready ends the row" do
    failures = Failures.new() |> failed(3) |> Failures.over()
    assert %{in_row: 0, error: nil} = failures
    refute failures |> failed(2) |> Failures.hopeless?()
  end

  defp died_unused(failures, times) do
    Enum.reduce(1..times//1, failures, fn _n, failures ->
      failures |> Failures.over() |> Failures.died_unused(20)
    end)
  end

  test "one that died unused counts, but says nothing of why" do
    failures = died_unused(Failures.new(), 1)
    assert %{error: nil} = failures
    assert failures |> failed(2) |> Failures.hopeless?()
  end

  test "the first of a row is to be told of, and then one a minute" do
    failures = Failures.new() |> failed(1)
    assert Failures.due?(failures, -5)
    failures = failures |> Failures.told(-5) |> failed(20)
    refute Failures.due?(failures, 59_994)
    assert Failures.due?(failures, 59_995)
    assert failures |> Failures.over() |> failed(1) |> Failures.due?(0)
  end

  test "those that get ready and die unused are a row until one has served" do
    waits = for n <- 1..4, do: Failures.new() |> died_unused(n) |> Failures.wait_ms(1.0)
    assert waits == [100, 200, 400, 800]
    assert Failures.new() |> died_unused(4) |> Failures.served() |> Failures.wait_ms(1.0) == 0
  end

  test "one that has lived for long is started at once" do
    failures = Failures.new() |> died_unused(2) |> Failures.died_unused(30_000)
    assert Failures.wait_ms(failures, 1.0) == 0
  end

  test "the wait gets longer with each, up to 30 seconds" do
    assert Failures.wait_ms(Failures.new(), 1.0) == 0
    waits = for n <- 1..12, do: Failures.new() |> failed(n) |> Failures.wait_ms(1.0)
    assert [100, 200, 400, 800 | _] = waits
    assert waits == Enum.sort(waits)
    assert List.last(waits) == 30_000
    assert Failures.new() |> failed(1_000) |> Failures.wait_ms(1.0) == 30_000
  end

  test "the wait is spread over the upper half" do
    assert Failures.new() |> failed(3) |> Failures.wait_ms(0.0) == 200
    assert Failures.new() |> failed(3) |> Failures.wait_ms(1.0) == 400
  end
end
