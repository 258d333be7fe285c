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

    assert {:ok, %{1 => {:error, %Error{type: "ModuleNotFoundError"}}}} =
             ErlangPython.reload("no_such_" <> name, pool: pool)

    assert ErlangPython.reload(:json, pool: pool, deep: true) == {:ok, %{1 => :ok}}
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
end
