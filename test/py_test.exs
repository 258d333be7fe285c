defmodule PyTest do
  # The Erlang face. Charlists, as Erlang code writes strings.
  use ErlangPython.PoolCase, async: true

  test "call/3,4,5 take names as atoms, binaries and charlists" do
    assert :py.call(:math, :sqrt, [16]) == {:ok, 4.0}
    assert :py.call("math", ~c"sqrt", [16]) == {:ok, 4.0}
    assert :py.call(:"os.path", :join, ["a", "b"]) == {:ok, "a/b"}
    assert :py.call(:pathlib, :"Path.cwd", []) |> elem(0) == :ok
    assert :py.call(:builtins, :dict, [], %{a: 1}) == {:ok, %{"a" => 1}}
    assert :py.call(:builtins, :dict, [], [{~c"größe", 1}], 5_000) == {:ok, %{"größe" => 1}}
    assert :py.call(:builtins, :dict, [], %{"b" => 2}, :infinity) == {:ok, %{"b" => 2}}
  end

  test "eval/1,2,3 and exec/1,2" do
    assert :py.eval("1 + 1") == {:ok, 2}
    assert :py.eval(~c"x * 2", %{x: 21}) == {:ok, 42}
    assert :py.eval("'größer'", %{}, 5_000) == {:ok, "größer"}
    assert :py.exec(~c"a = 1") == :ok
    assert :py.exec("b = 2", 5_000) == :ok
    assert :py.exec("1 / 0") == {:error, {:ZeroDivisionError, ~c"division by zero"}}
  end

  test "errors are {Type, Message} with an atom and a charlist" do
    assert :py.eval("nope") == {:error, {:NameError, ~c"name 'nope' is not defined"}}
    assert :py.call(:math, :sqrt, [-1]) |> elem(0) == :error
    assert {:error, {:UnicodeError, ~c"größer"}} = :py.exec("raise UnicodeError('größer')")
    assert {:error, {:TimeoutError, ~c"mine"}} = :py.exec("raise TimeoutError('mine')")
    assert {:error, {:SystemExit, ~c"3"}} = :py.exec("raise SystemExit(3)")
    assert {:error, {:KeyboardInterrupt, []}} = :py.exec("raise KeyboardInterrupt")
    assert {:error, {:stop_iteration, :none}} = :py.eval("next(iter([]))")
    assert :py.eval("__import__('time').sleep(60)", %{}, 50) == {:error, :timeout}
    assert {:error, {:encode, text}} = :py.eval("object()")
    assert text =~ "object"
    assert {:error, {:encode, _text}} = :py.call(:builtins, :print, [<<1::3>>])
  end

  test "calls that make no sense" do
    for result <- [
          :py.call(1, :f, []),
          :py.call(:math, :sqrt, 16),
          :py.call(:math, :sqrt, [16], :nothing),
          :py.call(:math, :sqrt, [16], %{}, 0),
          :py.call(:math, "", [16]),
          :py.eval(:x),
          :py.eval([1_000_000_000]),
          :py.eval("x", %{1 => 2}),
          :py.exec("1", -5),
          :py.cast(1, :f, []),
          :py.await(:no_ref),
          :py.await(make_ref())
        ] do
      assert result == {:error, :invalid_args}
    end
  end

  test "None, atoms, bytes, floats, arrays and sets have their Erlang shapes" do
    assert :py.eval("None") == {:ok, :none}

    assert :py.eval("[x, y, z]", %{x: :none, y: nil, z: :undefined}) ==
             {:ok, [:none, :none, :none]}

    assert :py.eval("[type(x) is str, x]", %{x: :hello}) == {:ok, [true, "hello"]}
    assert :py.eval("type(x).__name__", %{x: {:bytes, "abc"}}) == {:ok, "bytes"}
    assert :py.eval("type(x).__name__", %{x: <<255>>}) == {:ok, "bytes"}

    assert :py.eval("[float('nan'), float('inf'), -float('inf')]") ==
             {:ok, [:nan, :infinity, :neg_infinity]}

    assert :py.eval("__import__('numpy').arange(4).reshape(2, 2)") == {:ok, [[0, 1], [2, 3]]}
    assert :py.eval("{1}") == {:ok, [1]}
    assert :py.eval("(1, {'a': True})") == {:ok, {1, %{"a" => true}}}
  end

  test "call_async and await" do
    refs = for n <- 1..10, do: :py.call_async(:math, :factorial, [n])
    assert Enum.map(refs, &:py.await/1) |> List.last() == {:ok, 3_628_800}
    ref = :py.call_async(:builtins, :dict, [], %{a: 1})
    assert :py.await(ref, 5_000) == {:ok, %{"a" => 1}}
    # Fetched once.
    assert :py.await(ref) == {:error, :invalid_args}
  end

  @tag :tmp_dir
  test "an await that is too early leaves nothing, and the next one gets the result", %{
    tmp_dir: dir
  } do
    go = Path.join(dir, "go")

    code =
      "([__import__('time').sleep(0.005) for _ in iter(lambda: __import__('os').path.exists(go), True)], 'there')[1]"

    ref = :py.call_async(:builtins, :eval, [code, %{"go" => go}])
    assert :py.await(ref, 30) == {:error, :timeout}
    File.touch!(go)
    assert :py.await(ref) == {:ok, "there"}
    assert {:messages, []} = Process.info(self(), :messages)
  end

  @tag :tmp_dir
  test "a result whose fetcher is killed is there for the next", %{tmp_dir: dir} do
    go = Path.join(dir, "go")

    code =
      "[__import__('time').sleep(0.005) for _ in iter(lambda: __import__('os').path.exists(go), True)]"

    ref = :py.call_async(:builtins, :eval, [code <> " and 7 or 7", %{"go" => go}])
    [{holder, nil}] = Registry.lookup(ErlangPython.Answers, ref)
    {killed, monitor} = spawn_monitor(fn -> :py.await(ref) end)
    # It has asked for the result.
    eventually(fn -> assert {:monitors, [process: ^holder]} = Process.info(killed, :monitors) end)

    eventually(fn ->
      assert {:message_queue_len, 1} = Process.info(holder, :message_queue_len)
    end)

    Process.exit(killed, :kill)
    assert_receive {:DOWN, ^monitor, :process, ^killed, :killed}
    File.touch!(go)
    assert :py.await(ref) == {:ok, 7}
  end

  @tag :capture_log
  test "a gather of which one raises is no riddle" do
    calls = [{:math, :sqrt, [4]}, {:math, :sqrt, [%ErlangPython.TestStructs.Broken{}]}]
    assert {%RuntimeError{message: "no such thing"}, _} = catch_exit(:py.async_gather(calls))
    assert {:messages, []} = Process.info(self(), :messages)
  end

  test "a result that nobody fetches goes with its owner" do
    test = self()

    owner =
      spawn(fn ->
        send(test, {:ref, :py.call_async(:math, :sqrt, [16])})
        receive do: (:stop -> :ok)
      end)

    assert_receive {:ref, ref}
    assert [{holder, nil}] = Registry.lookup(ErlangPython.Answers, ref)
    monitor = Process.monitor(holder)
    send(owner, :stop)
    assert_receive {:DOWN, ^monitor, :process, ^holder, _reason}
  end

  test "cast/3,4" do
    assert :py.cast(:gc, :collect, []) == :ok
    assert :py.cast(:builtins, :dict, [], %{a: 1}) == :ok
  end

  test "version/0" do
    assert {:ok, "3." <> _rest} = :py.version()
  end

  test "the code that Dialyzer checks calls each function" do
    {:ok, forms} = :epp.parse_file(~c"test/dialyzer/py_caller.erl", [])

    # For supervisors, OTP and the compilers.
    others =
      [child_spec: 1, start_link: 1, __info__: 1, module_info: 0, module_info: 1] ++
        GenServer.behaviour_info(:callbacks)

    functions =
      for module <- [:py, :py_pool, :py_semaphore],
          {name, arity} <- module.module_info(:exports) -- others,
          do: {module, name, arity}

    assert functions -- calls(forms) == []
  end

  defp calls({:call, _, {:remote, _, {:atom, _, module}, {:atom, _, function}}, args}),
    do: [{module, function, length(args)} | calls(args)]

  defp calls(form) when is_tuple(form), do: form |> Tuple.to_list() |> calls()
  defp calls(forms) when is_list(forms), do: Enum.flat_map(forms, &calls/1)
  defp calls(_leaf), do: []
end
