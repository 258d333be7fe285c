defmodule PyContextTest do
  # Not async: contexts set workers of the default pool aside.
  use ExUnit.Case

  test "binding" do
    assert :py.is_bound() == false
    assert :py.bind() == :ok
    assert :py.bind() == :ok
    assert :py.is_bound()
    assert :py.exec("only_here = 1") == :ok
    assert :py.eval("only_here") == {:ok, 1}
    assert :py.call(:__main__, "only_here.__add__", [1]) == {:ok, 2}
    assert :py.await(:py.call_async(:builtins, :eval, ["1 + 1"])) == {:ok, 2}
    assert :py.stream_eval("iter([only_here])") == {:ok, [1]}
    assert :py.unbind() == :ok
    assert :py.unbind() == :ok
    assert :py.is_bound() == false
    assert {:error, {:NameError, _message}} = :py.eval("only_here")
  end

  test "contexts" do
    assert {:ok, context} = :py.bind(:new)
    assert :py.is_bound() == false
    assert :py.ctx_exec(context, "def f(a, b=1): return a + b") == :ok
    assert :py.ctx_exec(context, "x = 5", 5_000) == :ok
    assert :py.ctx_eval(context, "x") == {:ok, 5}
    assert :py.ctx_eval(context, "x + y", %{y: 1}) == {:ok, 6}
    assert :py.ctx_eval(context, "x + y", %{y: 1}, 5_000) == {:ok, 6}
    assert :py.ctx_call(context, :__main__, :f, [1]) == {:ok, 2}
    assert :py.ctx_call(context, :__main__, :f, [1], %{b: 2}) == {:ok, 3}
    assert :py.ctx_call(context, :__main__, :f, [1], %{b: 2}, 5_000) == {:ok, 3}
    assert {:error, {:ZeroDivisionError, _message}} = :py.ctx_eval(context, "1 / 0")
    assert :py.unbind(context) == :ok
    assert :py.unbind(context) == :ok
    assert_raise ErlangError, ~r/context_not_bound/, fn -> :py.ctx_eval(context, "x") end
    assert :py.bind(:other) == {:error, :invalid_args}
    assert :py.unbind(:other) == {:error, :invalid_args}
    assert :py.ctx_eval(:other, "1") == {:error, :invalid_args}
  end

  test "with_context" do
    assert :py.with_context(fn -> :py.exec("z = 3") && :py.eval("z") end) == {:ok, 3}
    assert :py.with_context(fn context -> :py.ctx_eval(context, "1") end) == {:ok, 1}
    assert catch_throw(:py.with_context(fn -> throw(:out) end)) == :out
    assert :py.is_bound() == false
    assert :py.with_context(:no_function) == {:error, :invalid_args}
  end
end
