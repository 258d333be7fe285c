defmodule ErlangPython.StateTest do
  # Not async: the state is one for all.
  use ErlangPython.PoolCase

  alias ErlangPython.State

  setup do
    State.clear()
    on_exit(&State.clear/0)
  end

  test "terms are kept verbatim" do
    for value <- [nil, :atom, ~c"charlist", {1, [2]}, self(), make_ref(), <<255>>, 1.5, %{a: 1}] do
      assert State.put({:key, value}, value) == :ok
      assert State.get({:key, value}) === value
    end

    assert length(State.keys()) == 9
    assert State.delete({:key, nil}) == :ok
    assert State.get({:key, nil}, :gone) == :gone
    assert State.clear() == :ok
    assert State.keys() == []
  end

  test "so are those that Python has no word for, as keys too" do
    n = 2
    closure = fn m -> n * m end
    port = hd(:erlang.ports())

    for value <- [[1 | 2], <<5::3>>, closure, &String.length/1, port, {[[:a | self()]]}] do
      assert State.put(value, {value}) == :ok
      assert State.get(value) === {value}
      assert :py.state_fetch(value) === {:ok, {value}}
      State.delete(value)
    end

    # What Python can carry, it gives back as it was, from a coroutine too.
    for value <- [closure, port, self(), make_ref(), {:a, [self()]}] do
      State.put("opaque", value)
      code = "erlang.state_set('copy', erlang.state_get('opaque'))"
      assert ErlangPython.exec("import asyncio\nawait asyncio.sleep(0)\n" <> code) == :ok
      assert State.get("copy") === value
      State.delete("copy")
      assert ErlangPython.exec(code) == :ok
      assert State.get("copy") === value
    end

    State.put("improper", [1 | 2])

    assert {:error, %Error{type: "erlang.ElixirError", message: message}} =
             ErlangPython.eval("erlang.state_get('improper')")

    assert message =~ "its tail is no list"
    assert State.get("improper") == [1 | 2]
  end

  test "keys are what they are: a float is no integer, an atom is no string" do
    for key <- [1, 1.0, :a, "a", ~c"a"], do: State.put(key, key)
    assert Enum.map([1, 1.0, :a, "a", ~c"a"], &State.get/1) === [1, 1.0, :a, "a", ~c"a"]
    keys = "1, 1.0, erlang.Atom('a'), 'a', [97]"

    assert ErlangPython.eval!("[erlang.state_get(k) for k in (#{keys})]") === [
             1,
             1.0,
             :a,
             "a",
             ~c"a"
           ]
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
        for _ in range(10_000): erlang.state_incr('n')
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(count, range(4)))
    os.getpid()
    """

    options = [pool: start_pool(workers: 2), timeout: 240_000]

    python =
      for _ <- 1..2,
          do: Task.async(fn -> ErlangPython.run!("import os\n" <> code, %{}, options) end)

    for _ <- 1..1_000, do: State.incr("n", 2)
    assert [_, _] = python |> Task.await_many(240_000) |> Enum.uniq()
    assert State.get("n") == 2 * 4 * 10_000 + 2_000
    assert State.decr("n", 81_999) == 1
    assert ErlangPython.eval!("erlang.state_decr('n')") == 0
  end

  test "coroutines use it too" do
    assert ErlangPython.run!("""
           import asyncio

           async def count():
               for _ in range(50):
                   erlang.state_incr('n')
                   await asyncio.sleep(0)

           await asyncio.gather(*(count() for _ in range(4)))
           erlang.state_get('n')
           """) == 200
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

  describe "with a limit" do
    setup do
      restart(1_000_000)
      on_exit(fn -> restart(:infinity) end)
    end

    # It is read when the table's owner starts.
    defp restart(limit) do
      Application.put_env(:erlang_python, :state_limit, limit)
      :ok = Supervisor.terminate_child(ErlangPython.Supervisor, ErlangPython.State.Table)
      {:ok, _pid} = Supervisor.restart_child(ErlangPython.Supervisor, ErlangPython.State.Table)
      Application.delete_env(:erlang_python, :state_limit)
    end

    test "what goes beyond is refused" do
      assert State.put("small", "x") == :ok

      assert {:error, %Error{kind: :too_large, executed: :no, details: details}} =
               State.put("large", String.duplicate("x", 1_000_000))

      assert %{size: size, limit: 1_000_000} = details
      assert size in 1_000_000..1_001_000

      assert {:error, %Error{kind: :elixir, message: message, details: details}} =
               ErlangPython.eval("erlang.state_set('large', 'x' * 1_000_000)")

      assert message =~ ":state_limit is 1000000"
      assert %{kind: :error, reason: %Error{kind: :too_large}, stacktrace: ""} = details
      assert State.get("large") == nil
      assert State.keys() == ["small"]
      assert {:error, {:encode, _text}} = :py.state_store(:large, List.duplicate(1.5, 200_000))
    end

    test "all values count together, large binaries and lists alike" do
      for value <- [String.duplicate("x", 400_000), Enum.to_list(1..90_000)] do
        assert State.put(1, value) == :ok
        # In its own place it takes no more.
        assert State.put(1, value) == :ok
        assert State.put(2, value) == :ok
        assert {:error, %Error{kind: :too_large}} = State.put(3, value)
        State.delete(1)
        assert State.put(3, value) == :ok
        State.clear()
      end
    end

    test "counters count too" do
      assert State.put("rest", String.duplicate("x", 999_900)) == :ok
      assert State.incr("a") == 1
      assert State.incr("a", 2 ** 70) == 2 ** 70 + 1
      key = String.duplicate("k", 100)
      assert_raise Error, ~r/:state_limit is 1000000/, fn -> State.incr(key) end
      assert {:error, {:encode, _text}} = :py.state_incr(key)
      assert {:error, %Error{message: message}} = ErlangPython.eval("erlang.state_incr('#{key}')")
      assert message =~ ":state_limit is 1000000"
      assert State.decr("a", 2 ** 70) == 1
      assert_raise ArgumentError, ~r/no integer/, fn -> State.incr("rest") end
    end
  end

  test "a limit that is none" do
    for limit <- [0, "1 GB"] do
      Application.put_env(:erlang_python, :state_limit, limit)
      on_exit(fn -> Application.delete_env(:erlang_python, :state_limit) end)

      assert_raise ArgumentError, ~r/expected config/, fn ->
        ErlangPython.State.Table.init(nil)
      end
    end
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
