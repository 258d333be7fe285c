defmodule ErlangPython.Callbacks.FunctionsTest do
  # Functions of Elixir's that Python calls: by their names, and as arguments.
  use ErlangPython.CallbackCase, async: false

  setup do: {:ok, pool: start_pool(workers: 1, grace: 10_000)}

  describe "a registered function" do
    test "is called by name, as an attribute and by import", %{pool: pool} do
      register(:add, fn a, b -> a + b end)
      assert run!(pool, "erlang.call('add', 1, 2)") == 3
      assert run!(pool, "erlang.add(3, 4)") == 7
      assert run!(pool, "from erlang import add\nadd(5, 6)") == 11
      assert run!(pool, "repr(erlang.add)") == "<erlang function add>"
    end

    test "may be {module, function}, of any arity", %{pool: pool} do
      register("max", {Kernel, :max})
      register("node", {:erlang, :node})
      assert run!(pool, "erlang.max(3, 4)") == 4
      assert run!(pool, "erlang.node()") == node()
      assert {"ElixirError", text} = caught(pool, "erlang.max(1)")
      assert text =~ "function Kernel.max/1 is undefined"
    end

    test "is replaced by the next of its name, and taken away", %{pool: pool} do
      register("version", fn -> 1 end)
      register(:version, fn -> 2 end)
      assert run!(pool, "erlang.version()") == 2
      assert ErlangPython.registered() == ["version"]
      assert ErlangPython.unregister("version") == :ok
      assert ErlangPython.unregister("version") == :ok
      assert ErlangPython.registered() == []
      assert {"UnknownFunction", text} = caught(pool, "erlang.call('version')")
      assert text == ~s(no function is registered as "version")
      # Python has seen it, and remembers the name until it is told better.
      assert {"UnknownFunction", ^text} = caught(pool, "erlang.version()")
      assert run!(pool, "hasattr(erlang, 'version')") == false
    end

    # The second is what gevent and eventlet do to the standard library.
    for change <- ["socket.setdefaulttimeout(0)", "del select.poll, socket.socket"] do
      test "is waited for in a thread also after `#{change}`", %{pool: pool} do
        register(:double, &(&1 * 2))

        code = """
        import select, socket
        from concurrent.futures import ThreadPoolExecutor
        #{unquote(change)}
        with ThreadPoolExecutor(1) as threads:
            doubled = threads.submit(erlang.double, 21).result()
        doubled
        """

        assert run!(pool, code) == 42
      end
    end

    test "takes and gives any value", %{pool: pool} do
      register(:echo, fn value -> value end)
      big = :crypto.strong_rand_bytes(300_000)
      value = %{"a" => [1, nil, {:ok, 2.5}, ~D[2024-02-03]], "pid" => self(), "big" => big}
      assert run!(pool, "erlang.echo(value)", %{value: value}) == value
      assert run!(pool, "erlang.echo({1, 2}) == {1, 2}") == true
    end

    test "takes keyword arguments only if it says so", %{pool: pool} do
      register(:with, fn a, kwargs -> [a, kwargs] end, kwargs: true)
      register(:without, fn a -> a end)
      assert run!(pool, "erlang.with_ = erlang.__getattr__('with')") == nil
      assert run!(pool, "erlang.call('with', 1, x=2)") == [1, %{"x" => 2}]
      assert run!(pool, "erlang.call('with', 1)") == [1, %{}]

      assert caught(pool, "erlang.without(1, x=2)") ==
               {"TypeError", "without takes no keyword arguments"}

      assert caught(pool, "erlang.without()") ==
               {"TypeError", "without takes 1 positional argument but 0 were given"}

      assert caught(pool, "erlang.call('with', 1, 2, 3)") ==
               {"TypeError", "with takes 1 positional argument but 3 were given"}

      register(:two, fn a, b -> [a, b] end)

      assert caught(pool, "erlang.two(1)") ==
               {"TypeError", "two takes 2 positional arguments but 1 was given"}
    end

    test "must be one" do
      for {name, function, opts, text} <- [
            {nil, fn -> 1 end, [], "expected the name as an atom or string, got: nil"},
            {"", fn -> 1 end, [], "a name has at least one character"},
            {:"", fn -> 1 end, [], "a name has at least one character"},
            {1, fn -> 1 end, [], "expected the name as an atom or string, got: 1"},
            {:f, :not_one, [], "expected a function or {module, function}, got: :not_one"},
            {:f, {"m", :f}, [], ~s(expected a function or {module, function}, got: {"m", :f})},
            {:f, fn -> 1 end, [kwargs: 1], "expected :kwargs to be a boolean, got: 1"},
            {:f, fn -> 1 end, [kwargs: true],
             "with kwargs: true the last argument is their map, but the function takes none"},
            {:f, fn -> 1 end, [kwarg: true], "unknown option :kwarg"},
            {:f, fn -> 1 end, :kwargs, "expected options to be a keyword list, got: :kwargs"}
          ] do
        error = assert_raise ArgumentError, fn -> ErlangPython.register(name, function, opts) end
        assert error.message =~ text
      end

      assert_raise ArgumentError, fn -> ErlangPython.unregister(nil) end
    end

    test "is unknown under a name that was not registered", %{pool: pool} do
      assert {"UnknownFunction", text} = caught(pool, "erlang.nobody")
      assert text =~ "no function of this name is registered"
      assert {"ImportError", _} = caught(pool, "from erlang import nobody")
      assert run!(pool, "issubclass(erlang.UnknownFunction, AttributeError)") == true
      assert run!(pool, "hasattr(erlang, 'nobody')") == false
      # Python's own probes never leave the process.
      assert {"AttributeError", _} = caught(pool, "erlang.__wrapped__")
    end
  end

  describe "a function that was passed in" do
    test "is a callable", %{pool: pool} do
      assert run!(pool, "f(20, 1)", %{f: &(&1 * 2 + &2)}) == 41
      assert run!(pool, "erlang.call(f, 20)", %{f: &(&1 * 2)}) == 40
      assert run!(pool, "list(map(f, [1, 2, 3]))", %{f: &(&1 * 2)}) == [2, 4, 6]
      assert run!(pool, "callable(f)", %{f: fn -> 1 end}) == true
    end

    test "comes back as it was", %{pool: pool} do
      f = fn a -> a end
      assert run!(pool, "f", %{f: f}) === f
    end

    test "keeps its arity and takes no keyword arguments", %{pool: pool} do
      assert {"TypeError", text} = caught(pool, "f()", %{f: fn a -> a end})
      assert text =~ ~r/takes 1 positional argument but 0 were given/
      assert {"TypeError", text} = caught(pool, "f(1, x=1)", %{f: fn a -> a end})
      assert text =~ "takes no keyword arguments"
    end
  end
end
