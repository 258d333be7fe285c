defmodule ErlangPython.CallbacksTest do
  # Functions of Elixir's that Python calls, and every way in which such a call can end.
  use ErlangPython.PoolCase, async: false

  import ExUnit.CaptureLog

  alias ErlangPython.Callbacks.Running
  alias ErlangPython.Pool.{Handle, Slots}
  alias ErlangPython.TestStructs.Broken

  setup do
    # Examples elsewhere leave theirs.
    Enum.each(ErlangPython.registered(), &ErlangPython.unregister/1)
    on_exit(fn -> Enum.each(ErlangPython.registered(), &ErlangPython.unregister/1) end)
    {:ok, pool: start_pool(workers: 1, grace: 10_000)}
  end

  defp register(name, function, opts \\ []), do: :ok = ErlangPython.register(name, function, opts)

  defp run(pool, code, bindings \\ %{}, opts \\ []),
    do: ErlangPython.run("import erlang\n" <> code, bindings, [pool: pool] ++ opts)

  defp run!(pool, code, bindings \\ %{}) do
    {:ok, value} = run(pool, code, bindings)
    value
  end

  # The type and the text of what Python caught.
  defp caught(pool, expression, bindings \\ %{}) do
    run!(
      pool,
      """
      try:
          #{expression}
          out = "nothing"
      except Exception as error:
          out = (type(error).__name__, str(error))
      out
      """,
      bindings
    )
  end

  defp await_nothing_left(pool) do
    {:ok, handle} = Handle.fetch(pool)

    eventually(fn ->
      assert Running.count() == 0

      for slot <- 1..Slots.count(handle)//1 do
        assert Slots.callbacks(handle, slot) == 0
        assert Slots.beside(handle, slot) == 0
      end

      assert :ets.info(handle.pending, :size) == 0
    end)
  end

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
               {"TypeError", "without takes 1 positional arguments but 0 were given"}

      assert caught(pool, "erlang.call('with', 1, 2, 3)") ==
               {"TypeError", "with takes 1 positional arguments but 3 were given"}
    end

    test "must be one" do
      for {name, function, opts, text} <- [
            {nil, fn -> 1 end, [], "expected the name as an atom or string, got: nil"},
            {"", fn -> 1 end, [], "a name has at least one character"},
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
      assert text =~ ~r/takes 1 positional arguments but 0 were given/
      assert {"TypeError", text} = caught(pool, "f(1, x=1)", %{f: fn a -> a end})
      assert text =~ "takes no keyword arguments"
    end
  end

  describe "a callback that fails" do
    test "is an ElixirError in Python", %{pool: pool} do
      register(:fail, fn
        "raise" -> raise ArgumentError, "no good"
        "throw" -> throw({:ball, 1})
        "exit" -> exit(:shutdown)
        "exit normal" -> exit(:normal)
        "opaque" -> throw(%Broken{})
      end)

      code = """
      try:
          erlang.fail(how)
      except erlang.ElixirError as error:
          out = [error.kind, error.reason, str(error), error.stacktrace]
      out
      """

      assert ["error", "no good", "** (ArgumentError) no good", stacktrace] =
               run!(pool, code, %{how: "raise"})

      assert stacktrace =~ "callbacks_test.exs"
      refute stacktrace =~ "Callbacks.Invocation"
      assert ["throw", {:ball, 1}, "** (throw) {:ball, 1}", _] = run!(pool, code, %{how: "throw"})
      assert ["exit", :shutdown, "** (exit) shutdown", _] = run!(pool, code, %{how: "exit"})
      assert ["exit", :normal, "** (exit) normal", _] = run!(pool, code, %{how: "exit normal"})
      assert ["throw", text, _, _] = run!(pool, code, %{how: "opaque"})
      assert text =~ "Broken"
    end

    test "comes back to the outer caller with the original exception", %{pool: pool} do
      register(:fail, fn how ->
        case how do
          "error" -> raise KeyError, key: :a, term: %{b: 1}
          "throw" -> throw({:ball, self()})
          "exit" -> exit({:shutdown, :why})
        end
      end)

      assert {:error, error} = run(pool, "erlang.fail('error')")
      assert %Error{kind: :elixir, type: "erlang.ElixirError", executed: :yes} = error
      assert %{kind: :error, reason: %KeyError{key: :a, term: %{b: 1}}} = error.details
      assert error.details.stacktrace =~ "callbacks_test.exs"
      assert error.message =~ "key :a not found"
      assert [%{function: "<module>", line: 2} | _] = error.traceback
      assert Exception.message(error) =~ "Traceback (most recent call last)"

      assert {:error, %{details: %{kind: :throw, reason: {:ball, pid}}}} =
               run(pool, "erlang.fail('throw')")

      assert is_pid(pid)

      assert {:error, %{details: %{kind: :exit, reason: {:shutdown, :why}}}} =
               run(pool, "erlang.fail('exit')")

      await_nothing_left(pool)
    end

    test "because its process was killed, or has exited in whatever way", %{pool: pool} do
      register(:die, fn how ->
        case how do
          "kill" -> Process.exit(self(), :kill)
          "normal" -> Process.exit(self(), :normal)
          "link" -> spawn_link(fn -> exit(:linked) end)
        end

        receive do: (:never -> :ok)
      end)

      for {how, reason} <- [{"kill", :killed}, {"normal", :normal}, {"link", :linked}],
          thread <- [false, true] do
        code = """
        import threading
        def attempt():
            global out
            try:
                out = erlang.die(how)
            except erlang.ElixirError as error:
                out = [error.kind, error.reason]
        globals().update(attempt=attempt, how=how)
        if thread:
            t = threading.Thread(target=attempt)
            t.start(); t.join()
        else:
            attempt()
        out
        """

        assert run!(pool, code, %{how: how, thread: thread}) == ["exit", reason]
      end

      await_nothing_left(pool)
    end

    test "because its result can't be carried", %{pool: pool} do
      register(:bits, fn -> [<<1::3>>] end)
      register(:broken, fn -> %Broken{} end)
      small = start_pool(workers: 1, max_message_size: 100_000)
      register(:large, fn -> :binary.copy("x", 100_001) end)

      assert {"ElixirError", text} = caught(pool, "erlang.bits()")
      assert text =~ "the result: "
      assert {"ElixirError", text} = caught(pool, "erlang.broken()")
      assert text =~ "no such thing"
      assert {"ElixirError", text} = caught(small, "erlang.large()")
      assert text =~ ~r/the result has \d+ bytes, the pool's :max_message_size is 100000/
      await_nothing_left(pool)
    end

    test "because its arguments can't be carried", %{pool: pool} do
      register(:f, fn _ -> 1 end)
      small = start_pool(workers: 1, max_message_size: 100_000)
      assert {"TypeError", text} = caught(pool, "erlang.f({'a': [object()]})")
      assert text =~ ~s(args[0]["a"][0])
      assert {"TypeError", text} = caught(pool, "erlang.call('f', x=object())")
      assert text =~ ~s(kwargs["x"])
      assert {"TypeError", _} = caught(pool, "erlang.call(1)")
      assert {"ValueError", text} = caught(small, "erlang.f('x' * 100_001)")
      assert text =~ "the arguments have"
    end
  end

  describe "cast and send" do
    test "don't wait", %{pool: pool} do
      test = self()
      register(:tell, &send(test, {:told, &1}))
      assert run!(pool, "erlang.cast('tell', 1)\nerlang.cast(f, 2)", %{f: &send(test, &1)}) == nil
      assert_receive {:told, 1}
      assert_receive 2
      assert run!(pool, "erlang.send(pid, ('hello', [1]))", %{pid: test}) == nil
      assert_receive {"hello", [1]}
    end

    test "of a failing function is logged", %{pool: pool} do
      test = self()

      register(:fail, fn ->
        send(test, {:in, self()})
        raise "bad cast"
      end)

      log =
        capture_log(fn ->
          run!(pool, "erlang.cast('fail')")
          assert_receive {:in, pid}
          ref = Process.monitor(pid)
          assert_receive {:DOWN, ^ref, _, _, _}
        end)

      assert log =~ "a cast from Python to fail failed"
      assert log =~ "bad cast"
    end

    test "arrive though the thread ends at once", %{pool: pool} do
      test = self()

      register(:slow, fn n ->
        send(test, {:in, self()})
        receive do: (:go -> send(test, {:done, n}))
      end)

      run!(pool, """
      import threading
      t = threading.Thread(target=erlang.cast, args=("slow", 1))
      t.start(); t.join()
      """)

      assert_receive {:in, pid}
      # The thread's connection closes meanwhile.
      {:ok, handle} = Handle.fetch(pool)
      worker = hd(Pool.workers(pool))
      eventually(fn -> assert connections(handle, worker) == 2 end)
      send(pid, :go)
      assert_receive {:done, 1}
    end

    test "by name only where the application allows it", %{pool: pool} do
      Process.register(self(), :callbacks_test_inbox)
      assert {"UnknownFunction", text} = caught(pool, "erlang.send('callbacks_test_inbox', 1)")
      assert text =~ "config :erlang_python, send_to:"
      Application.put_env(:erlang_python, :send_to, [:callbacks_test_inbox, __MODULE__])
      on_exit(fn -> Application.delete_env(:erlang_python, :send_to) end)
      assert run!(pool, "erlang.send('callbacks_test_inbox', [1])") == nil
      assert_receive [1]
      assert {"UnknownFunction", text} = caught(pool, "erlang.send('#{inspect(__MODULE__)}', 1)")
      assert text =~ "no process is registered"
      assert {"TypeError", _} = caught(pool, "erlang.send(1, 1)")
    end

    test "of one thread arrive in order", %{pool: pool} do
      run!(pool, "for n in range(1000): erlang.send(pid, n)", %{pid: self()})
      for n <- 0..999, do: assert_receive(m when m == n)
    end
  end

  defp connections(handle, %{os_pid: _}) do
    {:ok, state} = fetch_worker(handle)
    map_size(state.writers)
  end

  defp fetch_worker(handle) do
    {_generation, worker, _writer} = ErlangPython.Pool.Directory.worker(handle, 1)
    {:ok, :sys.get_state(worker)}
  end

  describe "the process of a callback" do
    test "has the request's caller among its $callers, over all levels", %{pool: pool} do
      register(:callers, fn -> Process.get(:"$callers") end)

      register(:deeper, fn ->
        [self(), run!(pool, "erlang.callers()")]
      end)

      test = self()
      assert run!(pool, "erlang.callers()") == [test]
      assert [level, [level, ^test]] = run!(pool, "erlang.deeper()")
    end

    test "is killed when the deadline of its request falls", %{pool: pool} do
      test = self()

      register(:wait, fn ->
        send(test, {:in, self()})
        receive do: (:never -> :ok)
      end)

      os_pid = hd(Pool.workers(pool)).os_pid
      assert {:error, %{kind: :timeout}} = run(pool, "erlang.wait()", %{}, timeout: 200)
      assert_received {:in, pid}
      ref = Process.monitor(pid)
      assert_receive {:DOWN, ^ref, _, _, _}
      assert run!(pool, "1") == 1
      # Interrupted, not killed.
      assert hd(Pool.workers(pool)).os_pid == os_pid
      await_nothing_left(pool)
    end

    test "is killed when its request's caller dies, for a thread's callback too", %{pool: pool} do
      test = self()

      register(:wait, fn ->
        send(test, {:in, self()})
        receive do: (:never -> :ok)
      end)

      code = """
      from concurrent.futures import ThreadPoolExecutor
      with ThreadPoolExecutor(2) as threads:
          list(threads.map(lambda _: erlang.wait(), range(2)))
      """

      caller = spawn(fn -> run(pool, code) end)
      os_pid = hd(Pool.workers(pool)).os_pid
      assert_receive {:in, first}
      assert_receive {:in, second}
      refs = Enum.map([first, second], &Process.monitor/1)
      Process.exit(caller, :kill)
      for ref <- refs, do: assert_receive({:DOWN, ^ref, _, _, _})
      assert run!(pool, "1") == 1
      assert hd(Pool.workers(pool)).os_pid == os_pid
      await_nothing_left(pool)
    end

    test "can't be reached by the callback of code that goes on after its interrupt",
         %{pool: pool} do
      test = self()

      register(:wait, fn ->
        send(test, {:in, self()})
        receive do: (:never -> :ok)
      end)

      register(:clean_up, fn -> send(test, :cleaned_up) end)

      code = """
      try:
          erlang.wait()
      finally:
          try:
              erlang.clean_up()
          except erlang.ElixirError as error:
              erlang.send(pid, [error.kind, error.reason])
      """

      os_pid = hd(Pool.workers(pool)).os_pid
      assert {:error, %{kind: :timeout}} = run(pool, code, %{pid: test}, timeout: 200)
      assert_receive [exit, :cancelled] when exit == "exit"
      refute_received :cleaned_up
      assert run!(pool, "1") == 1
      assert hd(Pool.workers(pool)).os_pid == os_pid
    end

    test "serves a thread that calls after its request has ended", %{pool: pool} do
      test = self()
      register(:late, fn n -> send(test, {:late, n, Process.get(:"$callers")}) && n end)

      code = """
      import threading
      def work():
          gate.wait()
          erlang.send(inbox, erlang.late(7))
      globals().update(gate=threading.Event(), inbox=pid)
      threading.Thread(target=work).start()
      """

      run!(pool, code, %{pid: test})
      run!(pool, "gate.set()")
      assert_receive {:late, 7, nil}
      assert_receive 7
      await_nothing_left(pool)
    end
  end
end
