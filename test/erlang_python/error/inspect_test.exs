defmodule ErlangPython.Error.InspectTest do
  use ExUnit.Case, async: true

  alias ErlangPython.Error

  @error %Error{
    kind: :python,
    type: "ValueError",
    message: "two\nlines",
    executed: :yes,
    traceback: [
      %{file: "shop.py", line: 3, function: "<module>", code: "price()"},
      %{file: "churn.py", line: 14, function: "price", code: nil}
    ],
    details: %{formatted: "Traceback (most recent call last): ..."}
  }

  test "shows what it is, its text and the place where it was raised" do
    assert inspect(@error) == """
           #ErlangPython.Error<:python (ValueError), executed: :yes
             two
             lines
             (churn.py:14)>\
           """

    assert inspect({:error, @error}) == """
           {:error, #ErlangPython.Error<:python (ValueError), executed: :yes
              two
              lines
              (churn.py:14)>}\
           """
  end

  test "leaves out what it has not, and shows notes" do
    assert inspect(%Error{kind: :timeout, executed: :no}) ==
             "#ErlangPython.Error<:timeout, executed: :no>"

    assert inspect(%{@error | message: "", notes: ["a note"], traceback: []}) ==
             "#ErlangPython.Error<:python (ValueError), executed: :yes\n  a note>"
  end

  test "keeps to a limit" do
    assert inspect(%{@error | message: "0123456789"}, printable_limit: 4) =~ "  0123...\n"
    long = String.duplicate("0", 10_000)
    assert inspect(%{@error | message: long}, printable_limit: :infinity) =~ long
    refute inspect(%{@error | message: long}) =~ long
  end

  test "has all fields if asked for them" do
    assert inspect(@error, structs: false) =~ "details: %{formatted: \"Traceback"
  end

  test "says once what kept a worker from starting" do
    {:error, {error, _child}} =
      start_supervised(
        {ErlangPython.Pool,
         name: __MODULE__,
         workers: 1,
         python: ErlangPython.TestPython.executable(),
         preload: ["no_such_module"]}
      )

    assert [_before, _after] = error |> inspect() |> String.split("No module named")
  end
end
