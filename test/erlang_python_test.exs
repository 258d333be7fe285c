defmodule ErlangPythonTest do
  use ErlangPython.PoolCase, async: true

  import ExUnit.CaptureLog

  doctest ErlangPython
  doctest ErlangPython.Bytes
  doctest ErlangPython.Duration
  doctest ErlangPython.Encoder
  doctest ErlangPython.Error
  doctest ErlangPython.Float
  doctest ErlangPython.Tensor

  describe "call/4" do
    test "takes names as atoms and strings, dotted or not" do
      assert ErlangPython.call(:math, :sqrt, [16]) == {:ok, 4.0}
      assert ErlangPython.call("math", "sqrt", [16]) == {:ok, 4.0}
      assert ErlangPython.call("os.path", :join, ["a", "b"]) == {:ok, "a/b"}
      assert {:ok, path} = ErlangPython.call(:pathlib, "Path.cwd")
      assert is_binary(path)
      assert ErlangPython.call("xml.etree.ElementTree", "iselement", [1]) == {:ok, false}
    end

    test "takes keyword arguments as a map or keyword list, with names of any script" do
      assert ErlangPython.call(:builtins, :dict, [], kwargs: [a: 1, b: nil]) ==
               {:ok, %{"a" => 1, "b" => nil}}

      assert ErlangPython.call(:builtins, :dict, [], kwargs: %{"größe" => 1}) ==
               {:ok, %{"größe" => 1}}
    end

    test "says what is missing" do
      assert {:error, %Error{type: "ModuleNotFoundError"} = error} =
               ErlangPython.call(:no_such, :f)

      assert error.message == "No module named 'no_such'"
      assert {:error, %Error{type: "AttributeError"}} = ErlangPython.call(:math, :no_such)
      assert {:error, %Error{type: "TypeError"}} = ErlangPython.call(:math, :pi)
    end

    test "refuses what makes no sense" do
      assert_raise ArgumentError, ~r/arguments as a list, got: 16/, fn ->
        ErlangPython.call(:math, :sqrt, 16)
      end

      assert_raise ArgumentError, ~r/module as an atom or string, got: 1/, fn ->
        ErlangPython.call(1, :f)
      end

      assert_raise ArgumentError, ~r/unknown option :timout \(did you mean :timeout\?\)/, fn ->
        ErlangPython.call(:a, :b, [], timout: 1)
      end

      assert_raise ArgumentError, ~r/:reverse \(Python's keyword arg.* kwargs: \[reverse: /, fn ->
        ErlangPython.call(:builtins, :sorted, [[1]], reverse: true)
      end

      for option <- [:return, :progress, :file] do
        error =
          assert_raise ArgumentError, fn ->
            ErlangPython.stream(:builtins, :range, [1], [{option, self()}])
          end

        assert error.message =~ "unknown option #{inspect(option)}, the known ones are [:pool, "
      end

      assert_raise ArgumentError, ~r/module comes first.*:builtins/, fn ->
        ErlangPython.call(:len, [[1]])
      end

      assert_raise ArgumentError, ~r/module as an .*double quotes/, fn ->
        ErlangPython.call(~c"math", :sqrt, [16])
      end

      assert {:error, %Error{notes: [note]}} = ErlangPython.call(Math, :sqrt, [16])
      assert note =~ ~S(write :math or "math")

      assert_raise ArgumentError, ~r/:timeout to be a positive/, fn ->
        ErlangPython.call(:a, :b, [], timeout: 0)
      end

      assert_raise ArgumentError, ~r/:kwargs/, fn ->
        ErlangPython.call(:a, :b, [], kwargs: [1])
      end

      assert_raise ArgumentError, ~r/the name "a" is given twice in :kwargs/, fn ->
        ErlangPython.call(:builtins, :dict, [], kwargs: %{:a => 1, "a" => 2, "b" => 3})
      end
    end

    test "does not take options for arguments" do
      for call <- [&ErlangPython.call/3, &ErlangPython.async/3, &ErlangPython.stream/3] do
        assert_raise ArgumentError, ~r/as in call\(:gc, :collect, \[\], pool: \.\.\.\)/, fn ->
          call.(:gc, :collect, pool: :other, timeout: 100)
        end
      end

      # A tuple that is no option.
      assert ErlangPython.call(:builtins, :len, timeout: "soon") == {:ok, 2}
      assert ErlangPython.call(:builtins, :len, [pool: :other], timeout: 30_000) == {:ok, 2}
    end

    test "an argument that has no counterpart is named, and nothing was sent" do
      assert {:error, %Error{kind: :encode, executed: :no} = error} =
               ErlangPython.call(:builtins, :print, [1, %{"a" => <<1::3>>}])

      assert error.message =~ ~s(args[1]["a"])
      assert error.message =~ "bitstring of 3 bits"
    end
  end

  describe "a Python exception" do
    test "has its type, text, frames, cause and notes" do
      code = """
      class Broken(Exception): pass
      def f():
          try:
              {}["k"]
          except KeyError as e:
              raise Broken("no luck") from e
      f()
      """

      assert {:error, %Error{kind: :python, executed: :yes} = error} =
               ErlangPython.run(code, %{}, file: "shop.py", line: 40)

      assert error.type =~ "Broken"
      assert error.message == "no luck"
      assert error.cause.type == "KeyError"
      assert [%{file: "shop.py", line: 46}, %{function: "f", line: 45}] = error.traceback

      text = Exception.message(error)
      assert text =~ "The above exception was the direct cause of the following exception:"
      assert text =~ "Traceback (most recent call last):"
      assert text =~ ~r/Broken: no luck\z/
    end

    test "shows the code's own lines" do
      assert {:error, %Error{} = error} = ErlangPython.run("x = 1\ny = x / 0")
      assert [%{line: 2, code: "y = x / 0"}] = error.traceback
    end

    test "is raised by the functions with an exclamation mark" do
      assert_raise Error, ~r/ZeroDivisionError: division by zero/, fn ->
        ErlangPython.eval!("1 / 0")
      end

      assert_raise Error, fn -> ErlangPython.exec!("1 / 0") end
      assert_raise Error, fn -> ErlangPython.run!("1 / 0") end
      assert_raise Error, fn -> ErlangPython.call!(:math, :sqrt, [-1]) end
    end
  end

  describe "eval/3" do
    test "bindings are seen by comprehensions and lambdas, and gone afterwards" do
      assert ErlangPython.eval("[x + y for x in range(2)]", %{"y" => 1}, pool: :single) ==
               {:ok, [1, 2]}

      assert ErlangPython.eval("(lambda: y)()", %{y: 2}, pool: :single) == {:ok, 2}
      assert {:error, %Error{type: "NameError"}} = ErlangPython.eval("y", %{}, pool: :single)
    end

    test "takes an expression only" do
      assert {:error, %Error{type: "SyntaxError"}} = ErlangPython.eval("x = 1")
      assert_raise ArgumentError, ~r/code as a string/, fn -> ErlangPython.eval(:x) end
      assert_raise ArgumentError, ~r/:bindings/, fn -> ErlangPython.eval("x", 1) end

      assert_raise ArgumentError, ~r/the name "x" is given twice in :bindings/, fn ->
        ErlangPython.eval("x", x: 1, x: 2)
      end
    end

    test "does not take options for bindings" do
      assert_raise ArgumentError, ~r/as in exec\(code, %\{\}, timeout: /, fn ->
        ErlangPython.exec("while True: pass", timeout: 100)
      end

      ErlangPython.with_context(
        fn context ->
          assert_raise ArgumentError, ~r/as in eval\(code, %\{\}, context: /, fn ->
            ErlangPython.eval("x", context: context)
          end
        end,
        pool: :single,
        mode: :shared
      )

      assert ErlangPython.eval("timeout + 1", %{timeout: 1}) == {:ok, 2}
      assert ErlangPython.eval("pool", [pool: 1], pool: :single) == {:ok, 1}
    end
  end

  describe "exec/3 and run/3" do
    test "what they define stays in the worker" do
      pool = start_pool(workers: 1)

      assert ErlangPython.exec("def a(): return b()\ndef b(): return kept\nkept = n", %{n: 3},
               pool: pool
             ) ==
               :ok

      assert ErlangPython.run("a()", %{}, pool: pool) == {:ok, 3}
      assert ErlangPython.call(:__main__, :a, [], pool: pool) == {:ok, 3}
      assert ErlangPython.run("c = 1", %{}, pool: pool) == {:ok, nil}
      assert {:error, %Error{notes: [note]}} = ErlangPython.run("return 5", %{}, pool: pool)
      assert note =~ "without return"
      # The bindings do not.
      assert {:error, %Error{type: "NameError"}} = ErlangPython.eval("n", %{}, pool: pool)
    end
  end

  describe "async/4" do
    @endless "import erlang\nerlang.send(test, 'in')\nwhile True: len('')"

    test "is a Task in every way" do
      tasks = for n <- 1..20, do: ErlangPython.async(:math, :factorial, [n])
      assert Task.await_many(tasks) |> List.last() == {:ok, 2_432_902_008_176_640_000}

      assert {:ok, {:error, %Error{type: "ValueError"}}} =
               Task.yield(ErlangPython.async(:math, :sqrt, [-1]))
    end

    test "stops with the process that has started it, also if that ends in order" do
      pool = start_pool(workers: 1)
      test = self()

      {owner, ref} =
        spawn_monitor(fn ->
          args = [@endless, %{"test" => test}]
          ErlangPython.async(:builtins, :exec, args, pool: pool, timeout: :infinity)
          receive do: (:end -> :ok)
        end)

      assert_receive "in"
      send(owner, :end)
      assert_receive {:DOWN, ^ref, :process, ^owner, :normal}
      await_whole(pool, 1)
    end
  end

  describe "cast/4" do
    test "does not wait, and logs a failure" do
      pool = start_pool(workers: 1)

      assert ErlangPython.cast(:builtins, :exec, ["import builtins; builtins.casted = 1"],
               pool: pool
             ) == :ok

      eventually(fn ->
        assert {:ok, true} =
                 ErlangPython.eval("hasattr(__import__('builtins'), 'casted')", %{}, pool: pool)
      end)

      log =
        capture_log(fn ->
          ErlangPython.cast(:math, :sqrt, [-1], pool: pool)
          eventually(fn -> assert Task.Supervisor.children(ErlangPython.Casts) == [] end)
        end)

      assert log =~ "cast to math.sqrt failed"
      assert log =~ "ValueError"
    end
  end

  describe "map/4" do
    test "keeps the order, runs over the pool, and collects errors" do
      assert [{:ok, 1.0}, {:error, %Error{type: "ValueError"}}, {:ok, 2.0}] =
               [1, -1, 4] |> ErlangPython.map(:math, :sqrt) |> Enum.to_list()
    end

    test "builds arguments, and raises if asked to" do
      assert [{:ok, 8}] =
               [3] |> ErlangPython.map(:builtins, :pow, args: &[2, &1]) |> Enum.to_list()

      assert_raise Error, ~r/ValueError/, fn ->
        [-1] |> ErlangPython.map(:math, :sqrt, on_error: :raise) |> Enum.to_list()
      end

      assert_raise ArgumentError, ~r/:args to give a list of arguments, got: 3/, fn ->
        [3] |> ErlangPython.map(:math, :sqrt, args: & &1) |> Enum.to_list()
      end

      assert_raise ArgumentError, ~r/:on_error/, fn ->
        ErlangPython.map([], :a, :b, on_error: :ignore)
      end

      assert_raise ArgumentError, ~r/did you mean :max_concurrency.*:timeout/, fn ->
        ErlangPython.map([], :a, :b, max_concurency: 2)
      end
    end

    test "takes elements only as results are taken, and stops what runs when halted" do
      pool = start_pool(workers: 2)
      test = self()

      elements =
        Stream.map(Stream.iterate(0, &(&1 + 1)), fn n ->
          send(test, {:taken, n})
          if n < 2, do: 0, else: 600
        end)

      taken =
        elements
        |> ErlangPython.map(:time, :sleep, pool: pool, max_concurrency: 2, timeout: :infinity)
        |> Enum.take(2)

      assert taken == [{:ok, nil}, {:ok, nil}]
      refute_received {:taken, 10}
      await_whole(pool, 2)
    end

    test "by itself sends no more at once than the pool's limits let in" do
      for limits <- [[max_concurrent: 1], [max_queue: 0]] do
        pool = start_pool([workers: 1, window: 1] ++ limits)
        roots = 1..6 |> ErlangPython.map(:math, :sqrt, pool: pool) |> Enum.map(&elem(&1, 0))
        assert roots == List.duplicate(:ok, 6)
      end
    end
  end

  test "info/1 describes the pool's Python" do
    info = ErlangPython.info()
    assert info.python =~ ~r/^3\.\d+/
    assert info.implementation =~ ~r/cpython/i
    assert File.exists?(info.executable)
    assert info.workers == 2
    assert %{"pyzmq" => _, "msgpack" => _, "libzmq" => _} = info.packages
  end

  test "info/1 waits as long as it is told to" do
    pool = start_pool(workers: 1, lazy: true, preload: [{:code, "import time; time.sleep(600)"}])
    error = assert_raise Error, fn -> ErlangPython.info(pool: pool, timeout: 50) end
    assert {error.kind, error.executed} == {:timeout, :no}
    assert {:messages, []} = Process.info(self(), :messages)
  end

  describe "erlang.current_request()" do
    @deadline """
    import time
    request = erlang.current_request()
    left = None if request.deadline is None else request.deadline - time.monotonic()
    (request.id > 0, left is not None and 10 < left <= 20, request.deadline, request.cancelled)
    """

    test "says when the time of its caller is up" do
      pool = start_pool(workers: 1)
      options = [pool: pool, timeout: 20_000]
      assert {:ok, {true, true, deadline, false}} = ErlangPython.run(@deadline, %{}, options)
      assert is_float(deadline)

      assert {:ok, {true, false, nil, false}} =
               ErlangPython.run(@deadline, %{}, pool: pool, timeout: :infinity)

      {:ok, context} = ErlangPython.Context.open(pool: pool, mode: :shared)

      assert {:ok, {true, true, _, false}} =
               ErlangPython.run(
                 "import asyncio\nawait asyncio.sleep(0)\n" <> @deadline,
                 %{},
                 options
               )

      assert {:ok, {true, true, _, false}} =
               ErlangPython.run(@deadline, %{}, context: context, timeout: 20_000)

      code = "(erlang.current_request().deadline - __import__('time').monotonic()) * 1_000"
      assert {:ok, %{1 => {:ok, left}}} = Pool.broadcast(pool, {:eval, code}, timeout: 20_000)
      assert left > 10_000 and left <= 20_000
    end

    test "is the same in its threads, and another in a nested request" do
      pool = start_pool(workers: 1)
      name = "deadline_#{System.unique_integer([:positive])}"
      on_exit(fn -> ErlangPython.unregister(name) end)

      ErlangPython.register(name, fn ->
        ErlangPython.eval!("erlang.current_request().deadline", %{}, pool: pool, timeout: 500_000)
      end)

      code = """
      from concurrent.futures import ThreadPoolExecutor
      own = erlang.current_request().deadline
      with ThreadPoolExecutor(1) as threads:
          of_thread = threads.submit(lambda: erlang.current_request().deadline).result()
      (own == of_thread, erlang.call(name) - own > 100)
      """

      assert ErlangPython.run!(code, %{name: name}, pool: pool, timeout: 20_000) == {true, true}
    end

    test "of the parts of a stream has none" do
      assert ErlangPython.stream_eval("(erlang.current_request().deadline for _ in range(3))")
             |> Enum.drop(1) == [nil, nil]
    end
  end

  describe "many callers" do
    test "each get their own answer" do
      pool = start_pool(workers: 2)

      1..200
      |> Task.async_stream(
        fn caller ->
          for n <- 1..20 do
            assert ErlangPython.eval("[caller, n]", %{caller: caller, n: n}, pool: pool) ==
                     {:ok, [caller, n]}
          end

          assert {:messages, []} = Process.info(self(), :messages)
        end,
        max_concurrency: 200,
        timeout: :infinity
      )
      |> Stream.run()

      await_whole(pool, 2)
    end

    test "with large payloads in both directions at once" do
      pool = start_pool(workers: 2)
      big = :binary.copy(<<0, 255>>, 4_000_000)

      1..8
      |> Task.async_stream(
        fn n ->
          assert {:ok, ^big} = ErlangPython.call(:builtins, :bytes, [big], pool: pool)
          assert {:ok, ^n} = ErlangPython.eval("n", %{n: n}, pool: pool)
        end,
        max_concurrency: 8,
        timeout: :infinity
      )
      |> Stream.run()
    end
  end
end
