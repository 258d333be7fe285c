defmodule ErlangPython.RefTest do
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.{Context, Ref}
  alias ErlangPython.Pool.Handle

  @moduletag :tmp_dir

  doctest ErlangPython.Ref

  defp keep!(code, pool, bindings \\ %{}) do
    ErlangPython.eval!(code, bindings, pool: pool, return: :ref)
  end

  # What a worker keeps, asked in it.
  defp kept(pool) do
    {:ok, counts} = Pool.broadcast(pool, {:eval, counting()})
    Enum.sum(for {_worker, {:ok, count}} <- counts, do: count)
  end

  defp counting, do: "len(__import__('erlang_python_worker._kept', fromlist=['*']).kept)"

  defp rows(pool) do
    {:ok, handle} = Handle.fetch(pool)
    :ets.info(handle.refs, :size)
  end

  defp none_kept(pool) do
    eventually(fn -> assert {rows(pool), kept(pool)} == {0, 0} end)
    {:ok, handle} = Handle.fetch(pool)
    eventually(fn -> assert :ets.info(handle.pending, :size) == 0 end)
  end

  defp worker_pid(ref), do: ErlangPython.call!(:os, :getpid, [], pool: ref.pool)

  describe "a Ref" do
    test "is the very object, as an argument, within others, and as a binding" do
      pool = start_pool(workers: 4)
      ref = keep!("[1, 2]", pool)

      for _ <- 1..20 do
        assert ErlangPython.call(:builtins, :len, [ref], pool: pool) == {:ok, 2}
      end

      assert ErlangPython.eval("x is y[0]['z'][1] and x is t[0]", %{
               x: ref,
               y: [%{"z" => {1, ref}}],
               t: {ref}
             }) == {:ok, true}

      assert ErlangPython.call(:builtins, :dict, [], kwargs: [a: ref]) ==
               {:ok, %{"a" => [1, 2]}}

      assert ErlangPython.exec("x.append(3)", x: ref) == :ok
      assert ErlangPython.run!("x.append(4)\nx", x: ref) == [1, 2, 3, 4]
      assert ErlangPython.stream(:builtins, :iter, [ref]) |> Enum.to_list() == [1, 2, 3, 4]
      assert ErlangPython.async(:builtins, :len, [ref]) |> Task.await() == {:ok, 4}
      assert ErlangPython.cast(:builtins, :len, [ref]) == :ok

      assert 1..3
             |> ErlangPython.map(:operator, :getitem,
               args: &[ref, &1],
               pool: pool,
               max_concurrency: 3
             )
             |> Enum.to_list() == [ok: 2, ok: 3, ok: 4]

      # Beside what travels out of band.
      big = String.duplicate("x", 100_000)
      assert ErlangPython.call(:builtins, :len, [[big, ref, big]]) == {:ok, 3}

      assert ErlangPython.eval!("b[0] is r, len(b[1])", %{b: [ref, big], r: ref}) ==
               {true, 100_000}
    end

    test "comes from call, eval, run, async and their forms with !" do
      pool = start_pool(workers: 2)
      opts = [pool: pool, return: :ref]

      assert {:ok, %Ref{type: "object", pool: ^pool}} =
               ErlangPython.call(:builtins, :object, [], opts)

      assert %Ref{type: "datetime.date"} =
               ErlangPython.call!(:datetime, :date, [2026, 1, 2], opts)

      assert {:ok, %Ref{type: "generator"}} = ErlangPython.eval("(x for x in [])", %{}, opts)
      assert %Ref{type: "NoneType"} = ErlangPython.run!("x = 1", %{}, opts)
      # Of a coroutine, on the event loop.
      assert {:ok, %Ref{type: "int"} = awaited} =
               ErlangPython.run("import asyncio\nawait asyncio.sleep(0, 7)", %{}, opts)

      assert Ref.value(awaited) == {:ok, 7}

      task = ErlangPython.async(:builtins, :object, [], opts)
      assert {:ok, %Ref{} = ref} = Task.await(task)
      assert ref.owner == self()
      assert Ref.get(ref, "__class__.__name__") == {:ok, "object"}
      assert inspect(ref) == "#ErlangPython.Ref<object #{ref.id} in #{inspect(pool)}>"

      assert {:error, %Error{type: "ZeroDivisionError"}} = ErlangPython.eval("1 / 0", %{}, opts)
    end

    test "has attributes and methods, whose values may be Refs again" do
      pool = start_pool(workers: 2)

      ErlangPython.Pool.broadcast(
        pool,
        {:exec,
         "class Model:\n" <>
           "    def __init__(self): self.layer = [1]; self.name = 'm'\n" <>
           "    def grow(self, n, *, by=1): self.layer.append(n * by); return self\n" <>
           "    def fail(self): raise ValueError('no')\n" <>
           "    async def slow(self): return len(self.layer)\n"}
      )

      model = ErlangPython.call!(:__main__, :Model, [], pool: pool, return: :ref)
      assert Ref.get(model, :name) == {:ok, "m"}
      assert {:ok, %Ref{type: "list"} = layer} = Ref.get(model, :layer, return: :ref)
      assert {:ok, %Ref{} = same} = Ref.call(model, :grow, [2], kwargs: %{by: 10}, return: :ref)
      assert ErlangPython.eval!("a is b", a: model, b: same)
      assert Ref.value!(layer) == [1, 20]
      assert Ref.call(model, "layer.pop") == {:ok, 20}
      assert Ref.call!(model, :slow) == 1
      assert Ref.call(layer, :append, [model]) == {:ok, nil}
      assert Ref.get!(model, "layer.__len__", return: :ref) |> Ref.call!(:__call__) == 2

      assert {:error, %Error{type: "ValueError", traceback: [frame]}} = Ref.call(model, :fail)
      assert frame.function == "fail" or frame.function == "Model.fail"
      assert {:error, %Error{type: "AttributeError"}} = Ref.get(model, :nothing)
      assert {:error, %Error{type: "AttributeError"}} = Ref.call(model, :nothing)
      assert {:error, %Error{kind: :encode, executed: :yes}} = Ref.value(model)
      assert_raise Error, ~r/cannot send/, fn -> Ref.value!(model) end

      assert {:error, %Error{kind: :encode, executed: :no, details: %{path: "args[1]"}}} =
               Ref.call(model, :grow, [1, <<1::3>>])

      assert {:error, %Error{kind: :timeout}} =
               "type('S', (), {'s': lambda self: __import__('time').sleep(60)})()"
               |> keep!(pool)
               |> Ref.call(:s, [], timeout: 50)
    end

    test "goes to its pool by itself, and not to one that is named" do
      [pool, other] = [start_pool(workers: 2), start_pool(workers: 1)]
      ref = keep!("[1]", pool)
      assert ErlangPython.call(:builtins, :len, [ref]) == {:ok, 1}

      assert {:error, %Error{kind: :encode, executed: :no} = error} =
               ErlangPython.call(:builtins, :len, [[ref]], pool: other)

      assert error.details == %{path: "args[0][0]"}
      assert error.message =~ "of the pool #{inspect(pool)}"
      assert error.message =~ inspect(other)
      # The limits of its own pool count.
      small = start_pool(workers: 1, max_message_size: 65_536)
      ref = keep!("[1]", small)

      assert {:error, %Error{kind: :too_large, executed: :no}} =
               ErlangPython.call(:builtins, :len, [[ref, String.duplicate("x", 70_000)]])
    end

    test "two of different workers can't be in one request", %{tmp_dir: dir} do
      pool = start_pool(workers: 2)
      one = keep!("'one'", pool)
      # Keeps that worker busy, so that the next is another's.
      gate = gate(dir)
      task = Task.async(fn -> ErlangPython.run(gated(), Map.put(gate, :x, one)) end)
      await_file(gate.started)
      two = keep!("'two'", pool)
      File.touch!(gate.go)
      Task.await(task)
      assert one.slot != two.slot

      assert {:error, %Error{kind: :encode, executed: :no} = error} =
               ErlangPython.call(:builtins, :print, [one, 1, two])

      assert error.details == %{path: "args[2]"}
      assert error.message =~ "worker #{one.slot}" and error.message =~ "worker #{two.slot}"

      assert {:error, %Error{kind: :encode}} = Ref.call(one, :join, [[two]])
      assert {:error, %Error{kind: :encode}} = Pool.broadcast(pool, {:call, :m, :f, [one]})

      # Out of a callback too.
      name = "ref_test_#{System.unique_integer([:positive])}"
      ErlangPython.register(name, fn -> two end)
      on_exit(fn -> ErlangPython.unregister(name) end)

      assert ErlangPython.eval("erlang.call('#{name}') is x", x: two) == {:ok, true}

      assert {:error, %Error{type: "erlang.ElixirError", message: message}} =
               ErlangPython.eval("erlang.call('#{name}') is x", x: one)

      assert message =~ "Ref of another worker"
    end
  end

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

    test "a callback uses one of its own worker, from its process and from others", context do
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
      assert context.tmp_dir
      assert ErlangPython.eval("erlang.call('#{name}')", %{}, pool: pool) == {:ok, 2}
    end
  end

  describe "ends:" do
    test "release, by anybody" do
      pool = start_pool(workers: 2)
      ref = keep!("[1]", pool)
      assert Task.await(Task.async(fn -> Ref.release(ref) end)) == :ok
      assert Ref.release(ref) == :ok

      for result <- [
            Ref.value(ref),
            Ref.get(ref, :x),
            Ref.call(ref, :x),
            ErlangPython.call(:builtins, :len, [ref])
          ],
          do: assert({:error, %Error{kind: :context_closed, executed: :no}} = result)

      none_kept(pool)
    end

    test "that of the owner, also of one that never had it" do
      pool = start_pool(workers: 2)
      test = self()

      {pid, monitor} =
        spawn_monitor(fn ->
          send(test, {:ref, keep!("[1]", pool)})
          Process.sleep(:infinity)
        end)

      assert_receive {:ref, ref}, 10_000
      assert Ref.value(ref) == {:ok, [1]}
      Process.exit(pid, :kill)
      assert_receive {:DOWN, ^monitor, :process, ^pid, :killed}
      eventually(fn -> assert {:error, %Error{kind: :context_closed}} = Ref.value(ref) end)

      for _ <- 1..100 do
        {:ok, pid} = Task.start(fn -> keep!("[1]", pool) end)
        Process.exit(pid, :kill)
      end

      # A normal end too.
      Task.await(Task.async(fn -> keep!("[1]", pool) end))
      none_kept(pool)
      await_whole(pool, 2)
    end

    test "a request that was given up leaves none", %{tmp_dir: dir} do
      pool = start_pool(workers: 1)
      gate = gate(dir)
      opts = [pool: pool, return: :ref, timeout: 50]
      late = "try:\n    import time; time.sleep(60)\nexcept BaseException: pass\n[1]"
      assert {:error, %Error{kind: :timeout}} = ErlangPython.run(late, gate, opts)
      none_kept(pool)
    end

    test "the worker's death, a restart, the pool's end" do
      pool = start_pool(workers: 2)
      name = unique_name()
      {:ok, supervisor} = Pool.start_link(name: name, workers: 1, stdout: :ignore)
      gone = keep!("[1]", name)
      Supervisor.stop(supervisor)
      assert {:error, %Error{kind: :context_lost, executed: :no}} = Ref.value(gone)
      # Another pool of its name, in which this id may name another object.
      {:ok, again} = Pool.start_link(name: name, workers: 1, stdout: :ignore)
      _other = keep!("'another'", name)
      assert {:error, %Error{kind: :context_lost}} = Ref.value(gone)
      assert Ref.release(gone) == :ok
      Supervisor.stop(again)

      ref = keep!("[1]", pool)

      assert {:error, %Error{kind: :worker_exit}} =
               ErlangPython.run("import os; os._exit(x[0])", x: ref)

      assert {:error, %Error{kind: :context_lost, executed: :no}} = Ref.value(ref)
      assert {:error, %Error{kind: :context_lost}} = ErlangPython.call(:m, :f, [ref], pool: pool)
      assert Ref.release(ref) == :ok
      await_whole(pool, 2)

      ref = keep!("[1]", pool)
      assert Pool.restart(pool) == :ok
      assert {:error, %Error{kind: :context_lost}} = Ref.value(ref)
      none_kept(pool)
    end

    test "max_requests replaces a worker that holds some" do
      pool = start_pool(workers: 1, max_requests: 5)
      ref = keep!("[1]", pool)
      pid = worker_pid(ref)

      eventually(fn -> refute ErlangPython.call!(:os, :getpid, [], pool: pool) == pid end)
      assert {:error, %Error{kind: :context_lost}} = Ref.value(ref)
    end
  end

  test "a release takes no place from a request" do
    pool = start_pool(workers: 1, max_concurrent: 1)

    for _ <- 1..200 do
      ref = keep!("[1]", pool)
      assert Ref.release(ref) == :ok
      assert ErlangPython.eval("1", %{}, pool: pool) == {:ok, 1}
    end

    {:ok, handle} = Handle.fetch(pool)
    none_kept(pool)
    assert ErlangPython.Pool.Slots.admitted(handle) == 0
  end

  test "wrong values are refused" do
    pool = start_pool(workers: 1)
    ref = keep!("[1]", pool)
    assert_raise ArgumentError, ~r/ErlangPython.Ref, got: 1/, fn -> Ref.get(1, :x) end
    assert_raise ArgumentError, ~r/ErlangPython.Ref, got: nil/, fn -> Ref.call(nil, :x) end
    assert_raise ArgumentError, ~r/ErlangPython.Ref/, fn -> Ref.value(:x) end
    assert_raise ArgumentError, ~r/ErlangPython.Ref/, fn -> Ref.release("x") end
    assert_raise ArgumentError, ~r/attribute/, fn -> Ref.get(ref, 1) end
    assert_raise ArgumentError, ~r/method/, fn -> Ref.call(ref, nil) end
    assert_raise ArgumentError, ~r/list/, fn -> Ref.call(ref, :x, :y) end
    assert_raise ArgumentError, ~r/unknown option :pool/, fn -> Ref.value(ref, pool: pool) end
    assert_raise ArgumentError, ~r/unknown option :context/, fn -> Ref.value(ref, context: 1) end

    assert_raise ArgumentError, ~r/:value or :ref/, fn ->
      ErlangPython.eval("1", %{}, return: :other)
    end

    assert_raise ArgumentError, ~r/unknown option :return/, fn ->
      ErlangPython.exec("1", %{}, return: :ref)
    end

    for fun <- [:cast, :stream, :map] do
      assert_raise ArgumentError, ~r/unknown option :return/, fn ->
        apply(ErlangPython, fun, [:m, :f, [], [return: :ref]]) |> Enum.to_list()
      end
    end

    # One that was put together by hand, and one that has been changed.
    assert {:error, %Error{kind: :encode}} =
             ErlangPython.eval("x", %{x: %{ref | name: nil}}, pool: pool)

    forged = %{ref | name: <<0::128>>}
    assert {:error, %Error{kind: :decode, message: message}} = Ref.value(forged)
    assert message =~ "another worker"
    assert Ref.value(ref) == {:ok, [1]}
  end

  test "on another node it says where it belongs" do
    pool = start_pool(workers: 1)
    ref = keep!("[1]", pool)
    # The same reference as that node would have sent it.
    local = :erlang.term_to_binary(ref.pool_id)
    name = Atom.to_string(node())
    other = String.duplicate("x", byte_size(name) - 5) <> "@host"
    pool_id = local |> :binary.replace(name, other) |> :erlang.binary_to_term()
    elsewhere = %{ref | pool_id: pool_id}

    for result <- [
          Ref.value(elsewhere),
          ErlangPython.call(:builtins, :len, [elsewhere], pool: pool),
          ErlangPython.call(:builtins, :len, [[ref, elsewhere]], pool: pool)
        ] do
      assert {:error, %Error{kind: :encode, executed: :no, message: message}} = result
      assert message =~ other
    end

    assert_raise Error, ~r/node/, fn -> Ref.release(elsewhere) end
    assert Ref.value(ref) == {:ok, [1]}
  end

  test "ErlangPython.State keeps one as any term" do
    pool = start_pool(workers: 1)
    ref = keep!("[1]", pool)
    key = "ref_test_#{System.unique_integer([:positive])}"
    ErlangPython.State.put(key, ref)
    on_exit(fn -> ErlangPython.State.delete(key) end)
    assert ErlangPython.State.get(key) == ref

    assert ErlangPython.eval("erlang.state_get(k) is x", %{k: key, x: ref}) == {:ok, true}
  end
end
