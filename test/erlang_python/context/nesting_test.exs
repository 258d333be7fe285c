defmodule ErlangPython.Context.NestingTest do
  # Contexts in whose requests Python calls Elixir: where the calls of the callback go, and that none of them waits for
  # the main thread, whatever that waits for.
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.Context
  alias ErlangPython.Pool.{Contexts, Pending}

  @waits %{
    "the main thread" => "out = erlang.call(name)",
    "a thread" => """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(1) as threads: out = threads.submit(erlang.call, name).result()
    """,
    "an event loop of its own" => """
    import asyncio
    out = asyncio.run(erlang.acall(name))
    """,
    "the worker's event loop" => "out = await erlang.acall(name)",
    "a thread of the worker's event loop" => """
    import asyncio
    out = await asyncio.get_running_loop().run_in_executor(None, contextvars.copy_context().run, erlang.call, name)
    """
  }

  setup do
    pool = start_pool(workers: 1)
    {:ok, context} = Context.open(pool: pool, mode: :shared)
    ErlangPython.exec!("import contextvars\nmark = 'context'", %{}, context: context)
    name = "context_nesting_#{System.unique_integer([:positive])}"
    on_exit(fn -> ErlangPython.unregister(name) end)
    {:ok, pool: pool, context: context, name: name}
  end

  defp run!(context, code, bindings),
    do: ErlangPython.run!(code, bindings, context: context, timeout: 20_000)

  for {where, code} <- @waits do
    describe "a callback from #{where}" do
      test "calls back into the context, without naming it", %{pool: pool} = test do
        ErlangPython.register(test.name, fn -> ErlangPython.eval!("mark", %{}, pool: pool) end)
        code = unquote(code) <> "\nout"
        assert run!(test.context, code, %{name: test.name}) == "context"
        assert ErlangPython.eval("'mark' in globals()", %{}, pool: pool) == {:ok, false}
      end

      test "may name it in a task of its own", %{context: context} = test do
        ErlangPython.register(test.name, fn ->
          fn -> ErlangPython.eval!("mark", %{}, context: context) end
          |> Task.async()
          |> Task.await(:infinity)
        end)

        assert run!(context, unquote(code) <> "\nout", %{name: test.name}) == "context"
      end

      test "may ask another process, which names it", %{context: context} = test do
        agent = start_supervised!({Agent, fn -> nil end})

        ErlangPython.register(test.name, fn ->
          Agent.get(
            agent,
            fn nil -> ErlangPython.eval!("mark", %{}, context: context) end,
            :infinity
          )
        end)

        assert run!(context, unquote(code) <> "\nout", %{name: test.name}) == "context"
      end

      test "may call outside of it in tasks of its own", %{pool: pool} = test do
        ErlangPython.register(test.name, fn ->
          1..3
          |> Enum.map(
            &Task.async(fn ->
              ErlangPython.eval!("n * 2", %{n: &1}, pool: pool, timeout: 20_000)
            end)
          )
          |> Task.await_many(:infinity)
        end)

        assert run!(test.context, unquote(code) <> "\nout", %{name: test.name}) == [2, 4, 6]
      end

      test "may ask another process, which calls outside of it", %{pool: pool} = test do
        agent = start_supervised!({Agent, fn -> nil end})
        outside = fn nil -> ErlangPython.eval!("21 * 2", %{}, pool: pool, timeout: 20_000) end
        ErlangPython.register(test.name, fn -> Agent.get(agent, outside, :infinity) end)
        assert run!(test.context, unquote(code) <> "\nout", %{name: test.name}) == 42
      end

      test "may ask another process, which calls outside of it, also if no worker takes plain calls",
           test do
        pool = start_pool(workers: 1)
        {:ok, context} = Context.open(pool: pool, mode: :dedicated)
        run!(context, "import contextvars", %{})
        agent = start_supervised!({Agent, fn -> nil end})
        outside = fn nil -> ErlangPython.eval!("21 * 2", %{}, pool: pool, timeout: 20_000) end
        ErlangPython.register(test.name, fn -> Agent.get(agent, outside, :infinity) end)
        assert run!(context, unquote(code) <> "\nout", %{name: test.name}) == 42
      end

      test "may use a Ref, itself, in a task and through another process", %{pool: pool} = test do
        {:ok, ref} = ErlangPython.eval("[1, 2, 3]", %{}, pool: pool, return: :ref)
        agent = start_supervised!({Agent, fn -> nil end})
        length = fn -> ErlangPython.call!("builtins", "len", [ref], pool: pool) end

        ErlangPython.register(test.name, fn ->
          task = length |> Task.async() |> Task.await(:infinity)
          [length.(), task, Agent.get(agent, fn nil -> length.() end, :infinity)]
        end)

        assert run!(test.context, unquote(code) <> "\nout", %{name: test.name}) == [3, 3, 3]
      end

      test "keeps its trace and its context", %{pool: pool} = test do
        ErlangPython.register(test.name, fn -> ErlangPython.eval!("mark", %{}, pool: pool) end)
        traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        options = [context: test.context, timeout: 20_000, traceparent: traceparent]
        code = unquote(code) <> "\nout"
        assert ErlangPython.run!(code, %{name: test.name}, options) == "context"
      end

      test "may ask another process, which reads a stream",
           %{pool: pool, context: context} = test do
        reader = start_supervised!({Agent, fn -> nil end})

        first = fn stream ->
          Enumerable.reduce(stream, {:cont, nil}, fn item, _ -> {:suspend, item} end)
        end

        {:suspended, 0, _} =
          Agent.get_and_update(reader, fn nil ->
            stream = ErlangPython.stream(:builtins, :range, [5], pool: pool, timeout: 20_000)
            {:suspended, item, continue} = first.(stream)
            {{:suspended, item, nil}, continue}
          end)

        ErlangPython.register(test.name, fn ->
          Agent.get_and_update(
            reader,
            fn continue ->
              {:suspended, item, continue} = continue.({:cont, nil})
              {item, continue}
            end,
            :infinity
          )
        end)

        assert run!(context, unquote(code) <> "\nout", %{name: test.name}) == 1
      end
    end
  end

  describe "a callback that comes from a request of another context, whose callback comes from this one," do
    setup test do
      pool = start_pool(workers: 2)
      [here, there] = for _ <- 1..2, do: elem(Context.open(pool: pool, mode: :shared), 1)
      handle = handle(pool)
      places = for context <- [here, there], do: elem(Contexts.fetch(handle, context.id), 1)
      assert Enum.uniq(places) == places
      there_calls = fn -> run!(there, "erlang.call(name)", %{name: test.name <> "_there"}) end
      ErlangPython.register(test.name, there_calls)
      on_exit(fn -> ErlangPython.unregister(test.name <> "_there") end)
      {:ok, here: here, handle: handle}
    end

    # One that waits for the main thread is pinned.
    test "calls beside the main thread at once", %{here: here, handle: handle} = test do
      ErlangPython.register(test.name <> "_look", fn id ->
        elem(Pending.standing(handle, id), 2)
      end)

      on_exit(fn -> ErlangPython.unregister(test.name <> "_look") end)
      look = "erlang.call(name, erlang.current_request().id)"

      ErlangPython.register(test.name <> "_there", fn ->
        run!(here, look, %{name: test.name <> "_look"})
      end)

      assert run!(here, "erlang.call(name)", %{name: test.name}) == false
    end
  end

  test "contexts whose requests overlap leave __main__ as it was", test do
    {:ok, other} = Context.open(pool: test.pool, mode: :shared)
    main = "getattr(__import__('sys').modules['__main__'], 'mark', 'process')"
    me = self()

    # Begins within the first request, and ends after it.
    ErlangPython.register(test.name, fn ->
      callback = self()

      spawn_link(fn ->
        waits = "erlang.send(to, 'begun')\nerlang.call(wait)\n" <> main
        bindings = %{to: callback, wait: test.name <> "_wait"}
        send(me, {:other, run!(other, waits, bindings)})
      end)

      receive do: ("begun" -> nil)
    end)

    ErlangPython.register(test.name <> "_wait", fn ->
      send(me, {:waits, self()})
      receive do: (:go -> nil)
    end)

    on_exit(fn -> ErlangPython.unregister(test.name <> "_wait") end)
    ErlangPython.exec!("mark = 'other'", %{}, context: other)

    assert run!(test.context, "erlang.call(name)\n" <> main, %{name: test.name}) in [
             "context",
             "other"
           ]

    assert_receive {:waits, callback}
    assert ErlangPython.eval!(main, %{}, pool: test.pool) == "process"
    send(callback, :go)
    assert_receive {:other, _main}
    assert ErlangPython.eval!(main, %{}, pool: test.pool) == "process"
    pickled = "import pickle\nclass A: pass\ntype(pickle.loads(pickle.dumps(A()))) is A"
    assert ErlangPython.run!(pickled, %{}, pool: test.pool)
  end

  test "a request that waits for long is still seen to hold the main thread", test do
    {:ok, handle} = ErlangPython.Pool.Handle.fetch(test.pool)
    me = self()

    ErlangPython.register(test.name, fn ->
      send(me, {:in, self()})
      receive do: (:go -> nil)
    end)

    code =
      "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(1) as t: t.submit(erlang.call, name).result()"

    first = Task.async(fn -> run!(test.context, code, %{name: test.name}) end)
    assert_receive {:in, callback}
    [id] = ErlangPython.Pool.Pending.of_caller(handle, first.pid)

    # Until it is looked at as one that might move.
    eventually(fn ->
      assert System.monotonic_time(:microsecond) - ErlangPython.Pool.Slots.last_end(handle, 1) >
               20_000
    end)

    ErlangPython.Pool.Intake.Stuck.reconsider(handle, id)
    assert run!(test.context, "mark", %{}) == "context"
    send(callback, :go)
    assert Task.await(first) == nil
  end

  test "what a stream's generator calls goes into its context, at each item", test do
    ErlangPython.register(test.name, fn -> ErlangPython.eval!("mark", %{}, pool: test.pool) end)

    ErlangPython.exec!(
      """
      def items(name):
          try:
              while True: yield erlang.call(name)
          finally:
              globals().update(closed=erlang.call(name))
      async def items_async(name):
          while True: yield await erlang.acall(name)
      """,
      %{},
      context: test.context
    )

    for function <- [:items, :items_async] do
      stream = ErlangPython.stream(:__main__, function, [test.name], context: test.context)
      assert Enum.take(stream, 3) == ["context", "context", "context"]
    end

    assert ErlangPython.eval("closed", %{}, context: test.context) == {:ok, "context"}
  end

  test "an iterator in a request that waits for the main thread is not halted by that", test do
    me = self()

    ErlangPython.register(test.name, fn ->
      send(me, {:in, self()})
      receive do: (:go -> nil)
    end)

    first = Task.async(fn -> run!(test.context, "erlang.call(name)", %{name: test.name}) end)
    assert_receive {:in, callback}
    # Handed over to another thread, since it is of a context.
    items = ErlangPython.iterator(1..3)
    assert run!(test.context, "list(items)", %{items: items}) == [1, 2, 3]
    send(callback, :go)
    assert Task.await(first) == nil
  end

  test "an iterator that the event loop lets go of is halted", test do
    me = self()

    items =
      ErlangPython.iterator(
        Stream.resource(fn -> 0 end, &{[&1], &1 + 1}, fn _ -> send(me, :halted) end)
      )

    code = "async for item in items: break\ndel items\nitem"
    assert run!(test.context, code, %{items: items}) == 0
    assert_receive :halted
  end

  test "an iterator's elements may call into the context", test do
    items = ErlangPython.iterator(Stream.map(1..3, &run!(test.context, "[mark, n]", %{n: &1})))
    expected = for n <- 1..3, do: ["context", n]
    assert run!(test.context, "list(items)", %{items: items}) == expected

    in_thread =
      "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(1) as t: out = t.submit(list, items).result()\nout"

    assert run!(test.context, in_thread, %{items: items}) == expected
  end
end
