defmodule ErlangPython.Ref.UseTest do
  # What a Ref is good for, and to which worker the requests that have one go.
  use ErlangPython.PoolCase, async: true

  import ErlangPython.TestRefs

  alias ErlangPython.Ref

  @moduletag :tmp_dir

  doctest ErlangPython.Ref

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
