defmodule ErlangPython.StateTest do
  # Not async: the state is one for all.
  use ErlangPython.PoolCase

  alias ErlangPython.State

  setup do
    State.clear()
    on_exit(&State.clear/0)
  end

  test "terms are kept verbatim" do
    for value <- [nil, :atom, 'charlist', {1, [2]}, self(), make_ref(), <<255>>, 1.5, %{a: 1}] do
      assert State.put({:key, value}, value) == :ok
      assert State.get({:key, value}) === value
    end

    assert length(State.keys()) == 9
    assert State.delete({:key, nil}) == :ok
    assert State.get({:key, nil}, :gone) == :gone
    assert State.clear() == :ok
    assert State.keys() == []
  end

  test "Python sees what Elixir puts, and the other way" do
    State.put("list", [1, 2])
    State.put(:atom, "by an atom")

    assert ErlangPython.run!("""
           erlang.state_set('from', {'python': True})
           before = sorted(map(str, erlang.state_keys()))
           erlang.state_delete('list')
           (before, erlang.state_get('list', 'none'), erlang.state_get(erlang.Atom('atom')), erlang.state_get('atom'))
           """) == {["atom", "from", "list"], "none", "by an atom", nil}

    assert State.get("from") == %{"python" => true}
    assert ErlangPython.run!("erlang.state_clear(); erlang.state_keys()") == []
  end

  test "counters are exact, from both sides and from threads" do
    code = """
    from concurrent.futures import ThreadPoolExecutor
    def count(_):
        for _ in range(2_500): erlang.state_incr('n')
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(count, range(4)))
    """

    python =
      for _ <- 1..2, do: Task.async(fn -> ErlangPython.run!(code, %{}, timeout: 120_000) end)

    for _ <- 1..1_000, do: State.incr("n", 2)
    Task.await_many(python, 120_000)
    assert State.get("n") == 2 * 4 * 2_500 + 2_000
    assert State.decr("n", 21_999) == 1
    assert ErlangPython.eval!("erlang.state_decr('n')") == 0
  end

  test "what is no integer is no counter" do
    State.put("text", "x")
    assert_raise ArgumentError, ~r/"text" is no integer/, fn -> State.incr("text") end
    assert_raise ArgumentError, ~r/expected an integer/, fn -> State.incr("n", 1.5) end

    assert {:error, %Error{kind: :python, type: "TypeError", message: message}} =
             ErlangPython.eval("erlang.state_incr('text')")

    assert message =~ "is no integer"
    assert {:error, %Error{type: "TypeError"}} = ErlangPython.eval("erlang.state_incr('n', 1.5)")
  end

  test "a limit refuses what is too large" do
    Application.put_env(:erlang_python, :state_limit, 1_000_000)
    on_exit(fn -> Application.delete_env(:erlang_python, :state_limit) end)
    assert State.put("small", "x") == :ok

    assert {:error, %Error{kind: :too_large}} =
             State.put("large", String.duplicate("x", 1_000_000))

    assert {:error, %Error{kind: :python, type: "erlang.ElixirError", message: message}} =
             ErlangPython.eval("erlang.state_set('large', 'x' * 1_000_000)")

    assert message =~ ":state_limit is 1000000"
    assert State.get("large") == nil
  end

  test "in the shapes of :py" do
    assert :py.state_store(:key, :value) == :ok
    assert :py.state_fetch(:key) == {:ok, :value}
    assert :py.state_fetch(:none) == {:error, :not_found}
    assert :py.state_keys() == [:key]
    assert :py.state_incr(:n) == 1
    assert :py.state_incr(:n, 10) == 11
    assert :py.state_decr(:n) == 10
    assert :py.state_decr(:n, 10) == 0
    assert :py.state_incr(:key) == {:error, :invalid_args}
    assert :py.state_incr(:n, "x") == {:error, :invalid_args}
    assert :py.state_remove(:key) == :ok
    assert :py.state_clear() == :ok
    assert :py.state_keys() == []
  end
end
