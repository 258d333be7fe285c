defmodule ErlangPython.Callbacks.FailuresTest do
  # Callbacks that fail in whatever way: what Python catches, and what the outer caller gets.
  use ErlangPython.CallbackCase, async: false

  alias ErlangPython.TestStructs.Broken

  setup do: {:ok, pool: start_pool(workers: 1, grace: 10_000)}

  describe "a callback that fails" do
    test "is an ElixirError in Python", %{pool: pool} do
      register(:fail, fn
        "raise" -> raise ArgumentError, "no good"
        "throw" -> throw({:ball, 1})
        "exit" -> exit(:shutdown)
        "exit normal" -> exit(:normal)
        "opaque" -> throw(%Broken{})
      end)

      code = """
      try:
          erlang.fail(how)
      except erlang.ElixirError as error:
          out = [error.kind, error.reason, str(error), error.stacktrace]
      out
      """

      assert ["error", "no good", "** (ArgumentError) no good", stacktrace] =
               run!(pool, code, %{how: "raise"})

      assert stacktrace =~ "failures_test.exs"
      refute stacktrace =~ "Callbacks.Invocation"
      assert ["throw", {:ball, 1}, "** (throw) {:ball, 1}", _] = run!(pool, code, %{how: "throw"})
      assert ["exit", :shutdown, "** (exit) shutdown", _] = run!(pool, code, %{how: "exit"})
      assert ["exit", :normal, "** (exit) normal", _] = run!(pool, code, %{how: "exit normal"})
      assert ["throw", text, _, _] = run!(pool, code, %{how: "opaque"})
      assert text =~ "Broken"
    end

    test "comes back to the outer caller with the original exception", %{pool: pool} do
      register(:fail, fn how ->
        case how do
          "error" -> raise KeyError, key: :a, term: %{b: 1}
          "throw" -> throw({:ball, self()})
          "exit" -> exit({:shutdown, :why})
        end
      end)

      assert {:error, error} = run(pool, "erlang.fail('error')")
      assert %Error{kind: :elixir, type: "erlang.ElixirError", executed: :yes} = error
      assert %{kind: :error, reason: %KeyError{key: :a, term: %{b: 1}}} = error.details
      assert error.details.stacktrace =~ "failures_test.exs"
      assert error.message =~ "key :a not found"
      assert [%{function: "<module>", line: 2} | _] = error.traceback
      assert Exception.message(error) =~ "Traceback (most recent call last)"

      assert {:error, %{details: %{kind: :throw, reason: {:ball, pid}}}} =
               run(pool, "erlang.fail('throw')")

      assert is_pid(pid)

      assert {:error, %{details: %{kind: :exit, reason: {:shutdown, :why}}}} =
               run(pool, "erlang.fail('exit')")

      await_nothing_left(pool)
    end

    test "because its process was killed, or has exited in whatever way", %{pool: pool} do
      register(:die, fn how ->
        case how do
          "kill" -> Process.exit(self(), :kill)
          "normal" -> Process.exit(self(), :normal)
          "link" -> spawn_link(fn -> exit(:linked) end)
        end

        receive do: (:never -> :ok)
      end)

      for {how, reason} <- [{"kill", :killed}, {"normal", :normal}, {"link", :linked}],
          thread <- [false, true] do
        code = """
        import threading
        def attempt():
            global out
            try:
                out = erlang.die(how)
            except erlang.ElixirError as error:
                out = [error.kind, error.reason]
        globals().update(attempt=attempt, how=how)
        if thread:
            t = threading.Thread(target=attempt)
            t.start(); t.join()
        else:
            attempt()
        out
        """

        assert run!(pool, code, %{how: how, thread: thread}) == ["exit", reason]
      end

      await_nothing_left(pool)
    end

    test "because its result can't be carried", %{pool: pool} do
      register(:bits, fn -> [<<1::3>>] end)
      register(:broken, fn -> %Broken{} end)
      small = start_pool(workers: 1, max_message_size: 100_000)
      register(:large, fn -> :binary.copy("x", 100_001) end)

      assert {"ElixirError", text} = caught(pool, "erlang.bits()")
      assert text =~ "the result: "
      assert {"ElixirError", text} = caught(pool, "erlang.broken()")
      assert text =~ "no such thing"
      assert {"ElixirError", text} = caught(small, "erlang.large()")
      assert text =~ ~r/the result has \d+ bytes, the pool's :max_message_size is 100000/

      for {pool, code, kind} <- [
            {pool, "erlang.bits()", :encode},
            {pool, "erlang.call('bits', {1: 2, 1.0: 3, b'k': 4, 'k': 5})", :decode},
            {small, "erlang.large()", :too_large}
          ] do
        assert {:error, %Error{kind: :elixir, type: "erlang.ElixirError"} = error} =
                 run(pool, code)

        assert %{kind: :error, reason: %Error{kind: ^kind} = reason, stacktrace: ""} =
                 error.details

        assert reason.message == error.message
      end

      assert {:error, %{details: %{reason: reason}}} = run(pool, "erlang.bits()")
      assert %{executed: :yes, details: %{path: "result[0]"}} = reason
      await_nothing_left(pool)
    end

    test "because its arguments can't be carried", %{pool: pool} do
      register(:f, fn _ -> 1 end)
      small = start_pool(workers: 1, max_message_size: 100_000)
      assert {"TypeError", text} = caught(pool, "erlang.f({'a': [object()]})")
      assert text =~ ~s(args[0]["a"][0])
      assert {"TypeError", text} = caught(pool, "erlang.call('f', x=object())")
      assert text =~ ~s(kwargs["x"])
      assert {"TypeError", _} = caught(pool, "erlang.call(1)")
      assert {"ValueError", text} = caught(small, "erlang.f('x' * 100_001)")
      assert text =~ "the arguments have"
    end
  end
end
