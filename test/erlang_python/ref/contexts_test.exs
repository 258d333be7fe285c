defmodule ErlangPython.Ref.ContextsTest do
  # Refs beside contexts, and in callbacks.
  use ErlangPython.PoolCase, async: true

  import ErlangPython.TestRefs

  alias ErlangPython.{Context, Ref}

  describe "in contexts" do
    test "it is of the worker, whatever the context" do
      pool = start_pool(workers: 2)
      {:ok, context} = Context.open(pool: pool)
      opts = [context: context, return: :ref]
      ref = ErlangPython.run!("x = [1]\nx", %{}, opts)
      assert ErlangPython.eval("x is y", %{y: ref}, context: context) == {:ok, true}
      # From outside: its worker, but not its names.
      assert {:error, %Error{type: "NameError"}} = ErlangPython.eval("x is y", y: ref)
      assert ErlangPython.eval("y[0]", y: ref) == {:ok, 1}
      {:ok, elsewhere} = Context.open(pool: pool)

      assert {:error, %Error{kind: :encode, executed: :no} = error} =
               ErlangPython.eval("y", %{y: ref}, context: elsewhere)

      assert error.details == %{path: ~s(bindings["y"])}
      Context.close(context)
      assert Ref.value(ref) == {:ok, [1]}
      Context.close(elsewhere)
      await_whole(pool, 2)
    end

    test "a bound process keeps to its context, but for the functions of Ref" do
      pool = start_pool(workers: 2)
      ErlangPython.bind(pool: pool)
      own = ErlangPython.eval!("[1]", %{}, return: :ref)
      assert ErlangPython.eval("x", x: own) == {:ok, [1]}
      ErlangPython.unbind()
      {:ok, context} = Context.open(pool: pool)
      place = ErlangPython.eval!("[2]", %{}, context: context, return: :ref)
      ErlangPython.bind(pool: pool)
      assert {:error, %Error{kind: :encode}} = ErlangPython.eval("x", x: place)
      assert Ref.value(place) == {:ok, [2]}
      assert ErlangPython.eval("x", %{x: place}, pool: pool) == {:ok, [2]}
      ErlangPython.unbind()
    end

    test "takes a request of a coroutine's callback with it, and leaves the context behind" do
      [pool, other] = [start_pool(workers: 2), start_pool(workers: 1)]
      {:ok, here} = Context.open(pool: pool, mode: :shared)
      {:ok, there} = Context.open(pool: pool, mode: :shared)
      ErlangPython.exec!("mark = 'here'", %{}, context: here)
      pid = "[__import__('os').getpid()]"
      near = ErlangPython.eval!(pid, %{}, context: here, return: :ref)
      far = ErlangPython.eval!(pid, %{}, context: there, return: :ref)
      elsewhere = ErlangPython.eval!(pid, %{}, pool: other, return: :ref)
      assert [near, far, elsewhere] |> Enum.map(&Ref.value!/1) |> Enum.uniq() |> length() == 3

      # Its context's names are there only if the Ref is in the worker of that.
      looks = "x[0] == __import__('os').getpid(), globals().get('mark'), sum(items)"
      test = self()
      name = "ref_test_#{System.unique_integer([:positive])}"
      on_exit(fn -> ErlangPython.unregister(name) end)

      ErlangPython.register(name, fn ->
        look = fn ref, opts ->
          ErlangPython.eval!(looks, %{x: ref, items: ErlangPython.iterator(1..3)}, opts)
        end

        seen = [
          near: look.(near, pool: pool),
          # The default pool is not where it goes.
          near: look.(near, []),
          far: look.(far, pool: pool),
          far: look.(far, []),
          elsewhere: look.(elsewhere, []),
          kept: Ref.value!(Ref.call!(far, :copy, [], return: :ref)) == Ref.value!(far),
          streamed:
            ErlangPython.stream(:builtins, :iter, [far]) |> Enum.to_list() == Ref.value!(far),
          task: fn -> look.(far, pool: pool) end |> Task.async() |> Task.await(:infinity)
        ]

        send(test, {:seen, seen})
        nil
      end)

      expected = [
        near: {true, "here", 6},
        near: {true, "here", 6},
        far: {true, nil, 6},
        far: {true, nil, 6},
        elsewhere: {true, nil, 6},
        kept: true,
        streamed: true,
        task: {true, nil, 6}
      ]

      for code <- ["await erlang.acall(name)", "erlang.call(name)"] do
        ErlangPython.run!(code, %{name: name}, context: here)
        assert_receive {:seen, seen}
        assert seen == expected
      end

      # It must not go where the request can't be.
      ErlangPython.register(name, fn ->
        ErlangPython.eval("x", %{x: elsewhere}, pool: pool) |> elem(0)
      end)

      assert ErlangPython.run!("await erlang.acall(name)", %{name: name}, context: here) == :error
    end

    test "a callback uses one of its own worker, from its process and from others" do
      pool = start_pool(workers: 1)
      ref = keep!("[1]", pool)
      name = "ref_test_#{System.unique_integer([:positive])}"

      ErlangPython.register(name, fn ->
        own = Ref.call!(ref, :__len__)
        # A process that knows nothing of the callback.
        test = self()
        spawn(fn -> send(test, {:other, Ref.call!(ref, :__len__)}) end)

        receive do
          {:other, other} -> own + other
        end
      end)

      on_exit(fn -> ErlangPython.unregister(name) end)
      assert ErlangPython.eval("erlang.call('#{name}')", %{}, pool: pool) == {:ok, 2}
    end
  end
end
