defmodule ErlangPython.ReloadTest do
  use ErlangPython.PoolCase, async: true

  @moduletag :tmp_dir
  @gated gated()

  setup %{tmp_dir: dir} do
    name = "reload_#{System.unique_integer([:positive])}"
    path = Path.join(dir, name <> ".py")
    File.write!(path, "x = 1\n")
    {:ok, name: name, path: path}
  end

  test "reaches each worker in which the module is loaded", context do
    %{tmp_dir: dir, name: name, path: path} = context
    pool = start_pool(workers: 2, paths: [dir])
    ErlangPython.exec("import #{name}", %{}, pool: pool)
    File.write!(path, "x = 2\n")
    assert ErlangPython.reload(name, pool: pool) == {:ok, %{1 => :ok, 2 => :ok}}
    loaded = {:eval, "getattr(__import__('sys').modules.get('#{name}'), 'x', None)"}
    assert {:ok, values} = Pool.broadcast(pool, loaded)
    assert values |> Map.values() |> Enum.sort() == [{:ok, 2}, {:ok, nil}]
  end

  test "a busy worker reloads after its request, which keeps the old code", context do
    %{tmp_dir: dir, name: name, path: path} = context
    pool = start_pool(workers: 1, paths: [dir], preload: [name])
    gate = gate(dir)
    code = "import #{name}\n" <> @gated <> "\n#{name}.x"
    task = Task.async(fn -> ErlangPython.run(code, gate, pool: pool) end)
    await_file(gate.started)
    File.write!(path, "x = 2\n")
    reload = Task.async(fn -> ErlangPython.reload(name, pool: pool) end)
    eventually(fn -> assert %{in_flight: 2} = Pool.stats(pool) end)
    File.touch!(gate.go)
    assert Task.await(task) == {:ok, 1}
    assert Task.await(reload) == {:ok, %{1 => :ok}}
    assert ErlangPython.run("import #{name}; #{name}.x", %{}, pool: pool) == {:ok, 2}
  end

  test "a syntax error is each worker's own error, and the old code stays", context do
    %{tmp_dir: dir, name: name, path: path} = context
    pool = start_pool(workers: 2, paths: [dir], preload: [name])
    File.write!(path, "x = \n")

    assert {:ok, %{1 => {:error, %Error{type: "SyntaxError"} = error}, 2 => {:error, _}}} =
             ErlangPython.reload(name, pool: pool)

    assert error.executed == :yes
    x = {:eval, "__import__('#{name}').x"}
    assert Pool.broadcast(pool, x) == {:ok, %{1 => {:ok, 1}, 2 => {:ok, 1}}}
  end

  test "names and options", %{name: name} do
    pool = start_pool(workers: 1)

    for absent <- ["no_such_" <> name, "no_such_" <> name <> ".part.deep"] do
      assert {:ok, %{1 => {:error, %Error{type: "ModuleNotFoundError"}}}} =
               ErlangPython.reload(absent, pool: pool)
    end

    assert ErlangPython.reload(:json, pool: pool, deep: true) == {:ok, %{1 => :ok}}

    # The worker goes on only with the ones that it has.
    for own <- ["erlang", "erlang_python_worker._kept"] do
      assert {:ok, %{1 => {:error, %Error{type: "ValueError"}}}} =
               ErlangPython.reload(own, pool: pool)

      assert {:ok, true} =
               ErlangPython.eval("erlang.current_request() is not None", %{}, pool: pool)
    end

    assert_raise ArgumentError, ~r/module/, fn -> ErlangPython.reload(1, pool: pool) end
    assert_raise ArgumentError, ~r/:deep/, fn -> ErlangPython.reload(:json, deep: 1) end
    assert {:error, %Error{kind: :no_pool}} = ErlangPython.reload(:json, pool: :no_such)
  end

  test "py:reload/1", %{tmp_dir: dir, name: name, path: path} do
    :py.exec("import sys; sys.path.append('#{dir}')")
    assert :py.reload(:json) == :ok
    assert :py.reload(~c"json.decoder") == :ok
    assert :py.reload(1) == {:error, :invalid_args}

    assert {:error, [{1, {:ModuleNotFoundError, message}} | _]} = :py.reload("no_such_" <> name)
    assert to_string(message) =~ name
    workers = length(Pool.workers(:default))

    {:ok, loaded} =
      Pool.broadcast(:default, {:exec, "import sys; sys.path.append('#{dir}'); import #{name}"})

    File.write!(path, "x = \n")
    assert {:error, failures} = :py.reload(name)
    assert length(failures) == map_size(loaded) and map_size(loaded) == workers
    assert {1, {:SyntaxError, ~c"invalid syntax" ++ _}} = List.keyfind(failures, 1, 0)
  end

  describe "reload: :auto" do
    test "every worker sees an edit with its next request", context do
      %{tmp_dir: dir, name: name, path: path} = context
      pool = start_pool(workers: 2, paths: [dir], preload: [name], reload: :auto)
      x = {:eval, "__import__('#{name}').x"}

      for n <- [1, 22, 333] do
        File.write!(path, "x = #{n}\n")
        assert Pool.broadcast(pool, x) == {:ok, %{1 => {:ok, n}, 2 => {:ok, n}}}
        assert ErlangPython.run("import #{name}; #{name}.x", %{}, pool: pool) == {:ok, n}
      end

      # In contexts, too, and for methods of objects that are kept.
      {:ok, context} = ErlangPython.Context.open(pool: pool)
      ErlangPython.exec!("import #{name}", %{}, context: context)
      File.write!(path, "x = 4444\n")
      assert ErlangPython.eval("#{name}.x", %{}, context: context) == {:ok, 4444}
    end

    test "a syntax error is logged, and the old code stays", context do
      %{tmp_dir: dir, name: name, path: path} = context
      pool = start_pool(workers: 1, paths: [dir], preload: [name], reload: :auto, stdout: :logger)

      log =
        ExUnit.CaptureLog.capture_log(fn ->
          File.write!(path, "x = \n")
          assert ErlangPython.call(name, "x.bit_length", [], pool: pool) == {:ok, 1}
          # What was logged before an end has been written when the worker has been asked again.
          File.write!(path, "x = 1023\n")
          assert ErlangPython.call(name, "x.bit_length", [], pool: pool) == {:ok, 10}
          logged(pool)
        end)

      assert log =~ "#{name}: the old code stays"
      assert log =~ "SyntaxError"
    end

    test "sees a file that is saved twice in one second, also where it was not loaded before",
         test do
      %{tmp_dir: dir, name: name, path: path} = test
      # The test is about compiled code.
      env = %{"PYTHONDONTWRITEBYTECODE" => nil}
      pool = start_pool(workers: 2, paths: [dir], reload: :auto, env: env)
      [one, two] = for _ <- 1..2, do: ErlangPython.Context.open(pool: pool) |> elem(1)
      x = fn context -> ErlangPython.eval!("__import__('#{name}').x", %{}, context: context) end

      for n <- 1..5 do
        File.write!(path, "x = #{n}\n")
        assert x.(one) == n
      end

      # As if it had been compiled in this very second.
      %{mtime: second} = File.stat!(path, time: :posix)
      File.write!(path, "x = 6\n")
      File.touch!(path, second)
      assert x.(two) == 6
    end

    test "loads the modules of a package, and what imports them, whatever else has gone", test do
      %{tmp_dir: dir, name: name} = test
      pool = start_pool(workers: 1, paths: [dir], reload: :auto)
      package = "p_" <> name
      folder = Path.join(dir, package)
      File.mkdir_p!(Path.join(folder, "deep"))

      for part <- ["__init__.py", "deep/__init__.py"],
          do: File.write!(Path.join(folder, part), "")

      model = Path.join(folder, "deep/model.py")
      File.write!(model, "x = 1\n")

      for view <- ["view", "old"],
          do: File.write!(Path.join(folder, view <> ".py"), "from .deep.model import x\n")

      see =
        "from #{package} import view, old\nfrom #{package}.deep import model\nmodel.x, view.x, old.x"

      assert ErlangPython.run(see, %{}, pool: pool) == {:ok, {1, 1, 1}}
      File.write!(model, "x = 22\n")
      assert ErlangPython.run(see, %{}, pool: pool) == {:ok, {22, 22, 22}}
      # The one that has gone stays loaded, as it was; also if it was broken before.
      File.write!(Path.join(folder, "old.py"), "x = \n")
      assert ErlangPython.run(see, %{}, pool: pool) == {:ok, {22, 22, 22}}
      File.rm!(Path.join(folder, "old.py"))
      File.write!(model, "x = 333\n")
      assert ErlangPython.run(see, %{}, pool: pool) == {:ok, {333, 333, 22}}
      # A stream and a coroutine see the next edit too.
      File.write!(model, "x = 4444\n")
      stream = ErlangPython.stream_eval("[__import__('#{package}.view').view.x]", %{}, pool: pool)
      assert Enum.to_list(stream) == [4444]
      File.write!(model, "x = 55555\n")

      assert {:ok, {55_555, 55_555, 22}} =
               ErlangPython.run("await __import__('asyncio').sleep(0)\n" <> see, %{}, pool: pool)
    end

    test "is off unless asked for", %{tmp_dir: dir, name: name, path: path} do
      pool = start_pool(workers: 1, paths: [dir], preload: [name])
      File.write!(path, "x = 22\n")
      assert ErlangPython.call(name, "x.bit_length", [], pool: pool) == {:ok, 1}

      assert_raise ArgumentError, ~r/:manual or :auto/, fn -> start_pool(reload: true) end
    end
  end

  # Records go through the worker's process and its printer, in order.
  defp logged(pool) do
    test = self()
    id = make_ref()
    handler = :"reload_test_#{System.unique_integer([:positive])}"
    :logger.add_handler(handler, __MODULE__, %{config: %{test: test, id: id}})
    ErlangPython.exec!("import logging; logging.error('all is logged')", %{}, pool: pool)
    assert_receive {^id, :logged}, 10_000
    :logger.remove_handler(handler)
  end

  @doc false
  def log(%{msg: message}, %{config: %{test: test, id: id}}) do
    if inspect(message) =~ "all is logged", do: send(test, {id, :logged})
  end
end
