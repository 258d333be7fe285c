defmodule ErlangPython.ErlangFace.ReasonTest do
  use ExUnit.Case, async: true

  alias ErlangPython.ErlangFace.Reason
  alias ErlangPython.{Error, LogEvents, PoolCase}

  test "a Python exception is its class name and its text" do
    error = %Error{kind: :python, type: "json.decoder.JSONDecodeError", message: "größer"}
    assert Reason.of(error) == {:JSONDecodeError, ~c"größer"}
  end

  test "a user's own TimeoutError is no timeout" do
    assert Reason.of(%Error{kind: :python, type: "TimeoutError", message: ""}) ==
             {:TimeoutError, ~c""}

    assert Reason.of(%Error{kind: :timeout}) == :timeout
  end

  test "a StopIteration that escapes has a shape of its own" do
    assert Reason.of(%Error{kind: :python, type: "StopIteration", message: "3"}) ==
             {:stop_iteration, :none}
  end

  test "a module that was not found: also which Python has looked" do
    error = %Error{
      kind: :python,
      type: "ModuleNotFoundError",
      message: "No module named 'größer'",
      notes: ["Not found by /bin/python3", "of mine"]
    }

    assert Reason.of(error) ==
             {:ModuleNotFoundError,
              ~c"No module named 'größer'\nNot found by /bin/python3\nof mine"}

    assert Reason.of(%{error | notes: []}) == {:ModuleNotFoundError, ~c"No module named 'größer'"}
    assert Reason.of(%{error | type: "ValueError", message: "m"}) == {:ValueError, ~c"m"}
  end

  test "what no_workers_available leaves out is logged, and not for each of many calls" do
    LogEvents.forward()

    for kind <- [:no_pool, :no_workers, :environment] do
      error = %Error{kind: kind, message: "why there is #{kind}"}
      logged = "no_workers_available: why there is #{kind}"

      # Another text may have come in its place a moment ago.
      PoolCase.eventually(fn ->
        assert Reason.of(error) == :no_workers_available
        assert_received {:logged, :error, ^logged}
      end)

      for _call <- 1..1_000, do: Reason.of(error)
      {:messages, messages} = Process.info(self(), :messages)
      # One for each second that this takes.
      assert Enum.count(messages, &match?({:logged, :error, ^logged}, &1)) < 10
    end
  end

  test "every kind of error has a reason" do
    for kind <- [
          :cancelled,
          :worker_exit,
          :no_pool,
          :no_workers,
          :context_lost,
          :encode,
          :decode,
          :protocol,
          :too_large,
          :environment
        ] do
      assert Reason.of(%Error{kind: kind, message: "m"})
    end

    assert Reason.of(%Error{kind: :overloaded, details: %{current: 3, max: 2}}) ==
             {:overloaded, 3, 2}
  end

  test "ever new class names make a bounded number of atoms" do
    for n <- 1..1_500, do: Reason.of(%Error{kind: :python, type: "m.NoSuchAtom#{n}", message: ""})
    before = :erlang.system_info(:atom_count)

    for n <- 2_000..2_500 do
      assert {type, ~c""} =
               Reason.of(%Error{kind: :python, type: "m.NoSuchAtom#{n}", message: ""})

      assert is_binary(type)
    end

    # Other tests run at the same time, and make a few of their own.
    assert :erlang.system_info(:atom_count) - before < 500
  end
end
