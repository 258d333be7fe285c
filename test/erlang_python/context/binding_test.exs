defmodule ErlangPython.Context.BindingTest do
  # Processes whose calls go to a context by themselves.
  use ErlangPython.PoolCase, async: true

  describe "binding" do
    test "sends a process's calls to its context" do
      pool = start_pool(workers: 2)
      refute ErlangPython.bound?()
      assert ErlangPython.bind(pool: pool) == :ok
      assert ErlangPython.bind(pool: pool) == :ok
      assert ErlangPython.bound?()
      assert ErlangPython.exec("bound_x = 1") == :ok
      assert ErlangPython.eval("bound_x") == {:ok, 1}
      assert Task.await(ErlangPython.async(:__main__, "bound_x.__add__", [1])) == {:ok, 2}
      assert ErlangPython.stream_eval("[bound_x]") |> Enum.to_list() == [1]
      # Another process is not bound, and another pool is another pool.
      refute Task.await(Task.async(&ErlangPython.bound?/0))
      elsewhere = ErlangPython.eval("bound_x", %{}, pool: :default)
      assert {:error, %Error{type: "NameError"}} = elsewhere
      assert ErlangPython.unbind() == :ok
      assert ErlangPython.unbind() == :ok
      refute ErlangPython.bound?()
      await_whole(pool, 2)
    end

    test "with_context nests, and unbinds whatever happens" do
      pool = start_pool(workers: 2)

      assert ErlangPython.with_context(
               fn outer ->
                 ErlangPython.exec!("x = 'outer'")

                 inner =
                   ErlangPython.with_context(
                     fn ->
                       ErlangPython.exec!("x = 'inner'")
                       {ErlangPython.eval!("x"), ErlangPython.eval!("x", %{}, context: outer)}
                     end,
                     pool: pool
                   )

                 {inner, ErlangPython.eval!("x")}
               end,
               pool: pool
             ) == {{"inner", "outer"}, "outer"}

      assert_raise RuntimeError, "boom", fn ->
        ErlangPython.with_context(fn -> raise "boom" end, pool: pool)
      end

      refute ErlangPython.bound?()
      await_whole(pool, 2)
    end

    test "with_context closes what its function has bound instead" do
      pool = start_pool(workers: 2)

      rebind = fn ->
        ErlangPython.unbind()
        :ok = ErlangPython.bind(pool: pool)
        ErlangPython.exec!("x = 'bound inside'")
      end

      assert ErlangPython.with_context(rebind, pool: pool) == :ok
      refute ErlangPython.bound?()
      await_whole(pool, 2)

      # What was bound before stays.
      :ok = ErlangPython.bind(pool: pool)
      ErlangPython.exec!("x = 'outer'")
      assert ErlangPython.with_context(rebind, pool: pool) == :ok
      assert ErlangPython.eval!("x") == "outer"
      eventually(fn -> assert %{bound: 1, idle: 1} = Pool.stats(pool) end)
      ErlangPython.unbind()
    end

    test "options count also where the process is bound already" do
      pool = start_pool(workers: 1)
      :ok = ErlangPython.bind(pool: pool)
      assert ErlangPython.bind(pool: pool, mode: :dedicated, timeout: 1) == :ok

      for {options, message} <- [
            {:x, "keyword list"},
            {[foo: 1], "unknown option :foo"},
            {[pool: :other], "with pool: #{inspect(pool)} already, and not :other"},
            {[mode: :shared], "with mode: :dedicated already, and not :shared"}
          ] do
        error = assert_raise ArgumentError, fn -> ErlangPython.bind(options) end
        assert error.message =~ message
      end

      ErlangPython.unbind()
    end
  end

  test "a request is refused whose :pool is not that of its :context" do
    pool = start_pool(workers: 1)

    ErlangPython.with_context(
      fn context ->
        assert ErlangPython.eval("1", %{}, context: context, pool: pool) == {:ok, 1}

        for options <- [[context: context, pool: :other], [pool: :other, context: context]] do
          assert_raise ArgumentError, ~r/the context is of the pool #{inspect(pool)}/, fn ->
            ErlangPython.eval("1", %{}, options)
          end
        end
      end,
      pool: pool
    )
  end
end
