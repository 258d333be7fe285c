defmodule ErlangPython.Pool.WindowTest do
  use ExUnit.Case, async: true

  alias ErlangPython.Pool.Window

  # `count` requests that take `service_us` each, one behind the other.
  defp serve(window, count, service_us) do
    Enum.reduce(1..count, window, fn _nth, window ->
      sent_at = window.last_end || -5_000_000
      Window.observe(window, 1, sent_at, sent_at + service_us)
    end)
  end

  test "starts with one request at a time" do
    assert Window.size(Window.new(:auto)) == 1
    assert Window.initial(:auto) == 1
  end

  test "grows with short calls until two milliseconds of them fit in" do
    assert :auto |> Window.new() |> serve(50, 100) |> Window.size() == 20
    assert :auto |> Window.new() |> serve(50, 250) |> Window.size() == 8
  end

  test "has a largest size" do
    assert :auto |> Window.new() |> serve(100, 1) |> Window.size() == 64
  end

  test "stays at one for calls of two milliseconds and more" do
    assert :auto |> Window.new() |> serve(20, 2_000) |> Window.size() == 1
    assert :auto |> Window.new() |> serve(20, 60_000_000) |> Window.size() == 1
  end

  test "one long call makes it small at once, a few short ones large again" do
    window = :auto |> Window.new() |> serve(100, 50)
    assert Window.size(window) > 15
    window = serve(window, 1, 3_600_000_000)
    assert Window.size(window) == 1
    assert window |> serve(10, 50) |> Window.size() > 5
  end

  test "counts from the sending of the first request if the worker was idle before" do
    idle = Window.new(:auto)

    window =
      Enum.reduce(1..50, idle, &Window.observe(&2, 1, &1 * 1_000_000, &1 * 1_000_000 + 100))

    assert Window.size(window) == 20
  end

  test "divides the time of a packet among its answers" do
    window =
      Enum.reduce(1..50, Window.new(:auto), &Window.observe(&2, 10, (&1 - 1) * 1_000, &1 * 1_000))

    assert Window.size(window) in 19..20
  end

  test "a fixed window does not move" do
    assert 3 |> Window.new() |> serve(50, 1) |> Window.size() == 3
    assert Window.initial(3) == 3
  end
end
