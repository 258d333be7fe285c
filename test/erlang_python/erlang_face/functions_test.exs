defmodule ErlangPython.ErlangFace.FunctionsTest do
  # `py:register_function/2,3` and `py:unregister_function/1`, called as Erlang calls them.
  use ExUnit.Case, async: false

  setup do
    # Examples elsewhere leave theirs.
    Enum.each(ErlangPython.registered(), &ErlangPython.unregister/1)
    on_exit(fn -> Enum.each(ErlangPython.registered(), &ErlangPython.unregister/1) end)
  end

  # The value of Erlang expressions, as in its shell.
  defp erlang(code) do
    {:ok, tokens, _} = :erl_scan.string(String.to_charlist(code))
    {:ok, expressions} = :erl_parse.parse_exprs(tokens)
    {:value, value, _bindings} = :erl_eval.exprs(expressions, [])
    value
  end

  test "the function gets the list of arguments" do
    assert erlang("py:register_function(sum, fun(Args) -> lists:sum(Args) end).") == :ok
    assert erlang(~s|py:eval(<<"erlang.sum(1, 2, 3)">>).|) == {:ok, 6}
    assert erlang(~s|py:eval(<<"erlang.call('sum')">>).|) == {:ok, 0}
  end

  test "names are atoms, binaries or charlists, and module and function do too" do
    assert erlang("py:register_function(<<\"total\">>, lists, sum).") == :ok
    assert erlang("py:register_function(\"largest\", lists, max).") == :ok
    assert erlang(~s|py:eval("[erlang.total(1, 2), erlang.largest(1, 3)]").|) == {:ok, [3, 3]}
    assert ErlangPython.registered() == ["largest", "total"]
  end

  test "values convert as everywhere in py" do
    erlang("py:register_function(echo, fun([Value]) -> Value end).")
    assert erlang(~s|py:eval(<<"erlang.echo(None)">>).|) == {:ok, :none}
    assert erlang(~s|py:eval(<<"erlang.echo(True)">>).|) == {:ok, true}
    assert erlang(~s|py:eval(<<"erlang.echo((1, 'a'))">>).|) == {:ok, {1, "a"}}
    erlang("py:register_function(atoms, fun([]) -> [undefined, none, some, {bytes, <<1>>}] end).")

    assert erlang(~s|py:eval(<<"repr(erlang.atoms())">>).|) ==
             {:ok, "[None, None, 'some', b'\\x01']"}
  end

  test "sets and arrays are lists, at any depth" do
    erlang("py:register_function(echo, fun([Value]) -> Value end).")
    erlang("py:register_function(same, fun([Value]) -> Value =:= [[1, 2], [3, 4]] end).")
    assert erlang(~s|py:eval(<<"erlang.echo({1})">>).|) == {:ok, [1]}

    assert erlang(~s|py:eval(<<"erlang.echo([{frozenset([1])}, {'a': set()}])">>).|) ==
             {:ok, [[[1]], %{"a" => []}]}

    square = "__import__('numpy').arange(1, 5).reshape(2, 2)"
    assert :py.eval("erlang.same(#{square})") == {:ok, true}
    assert :py.eval("erlang.same(#{square}.astype('>f4'))") == {:ok, false}
    assert :py.eval("erlang.echo([#{square} > 1])") == {:ok, [[[false, true], [true, true]]]}
    assert :py.eval("erlang.echo(__import__('numpy').array(7))") == {:ok, 7}

    for dtype <- ["c16", "M8[s]"] do
      assert {:error, {:TypeError, text}} =
               :py.eval("erlang.echo(__import__('numpy').zeros(2, '#{dtype}'))")

      assert to_string(text) =~ ~s(an array of "<#{dtype}" can't be a list)
    end
  end

  test "a function that is passed as a value is as in Elixir" do
    code = "repr(same(None, {1}, __import__('numpy').arange(2)))"
    same = fn nil, set, %ErlangPython.Tensor{} -> {MapSet.to_list(set), :undefined} end
    assert :py.eval(code, %{same: same}) == {:ok, "([1], erlang.Atom('undefined'))"}
  end

  test "registering again replaces, unregistering takes away" do
    erlang("py:register_function(f, fun(_) -> 1 end).")
    assert erlang("py:register_function(f, fun(_) -> 2 end).") == :ok
    assert erlang(~s|py:eval(<<"erlang.f()">>).|) == {:ok, 2}
    assert erlang("py:unregister_function(f).") == :ok
    assert erlang("py:unregister_function(f).") == :ok
    assert {:error, {:UnknownFunction, text}} = erlang(~s|py:eval(<<"erlang.call('f')">>).|)
    assert to_string(text) == ~s(no function is registered as "f")
  end

  test "a failure is a RuntimeError in Python, and comes back by its class" do
    erlang("py:register_function(crash, fun(_) -> 1 = 2 end).")
    assert {:error, {:ElixirError, text}} = erlang(~s|py:eval(<<"erlang.crash()">>).|)
    assert to_string(text) =~ ~r"no match of right hand side value:\s+2"
    assert erlang(~s|py:eval(<<"issubclass(erlang.ElixirError, RuntimeError)">>).|) == {:ok, true}
  end

  test "keyword arguments are a TypeError" do
    erlang("py:register_function(f, fun(_) -> 1 end).")
    assert {:error, {:TypeError, text}} = erlang(~s|py:eval(<<"erlang.f(x=1)">>).|)
    assert to_string(text) == "f takes no keyword arguments"
  end

  test "a call that makes no sense is invalid_args" do
    for code <- [
          "py:register_function(f, not_one).",
          "py:register_function(f, fun() -> 1 end).",
          "py:register_function(f, fun(_, _) -> 1 end).",
          "py:register_function(<<>>, fun(_) -> 1 end).",
          "py:register_function({f}, fun(_) -> 1 end).",
          "py:register_function(f, <<\"lists\">>, sum).",
          "py:register_function(f, {lists, sum, 1}).",
          "py:unregister_function(1)."
        ],
        do: assert(erlang(code) == {:error, :invalid_args}, code)
  end

  test "nests through both faces" do
    erlang(
      "py:register_function(down, fun([0]) -> 0; ([N]) -> {ok, V} = py:eval(<<\"erlang.down(n - 1)\">>, \#{n => N}), V + 1 end)."
    )

    assert erlang(~s|py:eval(<<"erlang.down(20)">>).|) == {:ok, 20}
  end
end
