defmodule ErlangPython.InterpretersTest do
  # Every Python of this machine, side by side: in pools of one BEAM, each with its own runtime packages from the
  # cache, which the first run fills.
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.Env.{Interpreter, Runtime}
  alias ErlangPython.{ErlPort, TestPython}

  @moduletag :tmp_dir

  @newest 14

  # Found as a user would name them.
  defp versions do
    for minor <- 9..@newest,
        {:ok, path} <- [Interpreter.find(python: "3.#{minor}")],
        do: {"3.#{minor}", path}
  end

  test "each version found here serves, all at once", %{tmp_dir: dir} do
    pools =
      for {version, path} <- [{dev_version(), TestPython.executable()} | versions()] do
        {version, start_pool(workers: 1, python: path)}
      end

    for {version, pool} <- pools do
      assert String.starts_with?(ErlangPython.info(pool: pool).python, version <> ".")
      value = %{"a" => [1, 2.5, nil, true], "b" => {:tuple, "text"}, "big" => 2 ** 80}
      assert ErlangPython.eval("v", %{v: value}, pool: pool) == {:ok, value}
      assert ErlangPython.call(:math, :sqrt, [16], pool: pool) == {:ok, 4.0}
      assert ErlangPython.exec("def f(x): return x + 1", %{}, pool: pool) == :ok
      assert ErlangPython.call(:__main__, :f, [1], pool: pool) == {:ok, 2}
      big = :binary.copy("x", 1_000_000)
      assert ErlangPython.eval("b", %{b: big}, pool: pool) == {:ok, big}

      assert {:error, %Error{kind: :python, type: "ZeroDivisionError"}} =
               ErlangPython.eval("1 / 0", %{}, pool: pool)

      for code <- ["import time; time.sleep(60)", "while True: pass"] do
        assert {:error, %Error{kind: :timeout}} =
                 ErlangPython.run(code, %{}, pool: pool, timeout: 50)
      end

      assert {:error, %Error{kind: :worker_exit, details: %{signal: 11}}} =
               ErlangPython.run("import ctypes; ctypes.string_at(0)", %{}, pool: pool)

      await_whole(pool, 1)
      assert {:ok, %{1 => {:ok, _}}} = Pool.broadcast(pool, {:exec, "import email.mime.text"})
      assert ErlangPython.reload(:email, pool: pool, deep: true) == {:ok, %{1 => :ok}}
      assert {:ok, [%{main: true, frames: []} | _]} = Pool.stacks(pool, 1)
      environment = &{:call, "erlang_python_worker._venv", &1, &2}
      {:ok, before} = Pool.broadcast(pool, environment.("info", []))
      venv = Path.join(dir, version)
      python = ErlangPython.info(pool: pool).executable
      {_output, 0} = System.cmd(python, ["-m", "venv", "--without-pip", venv])
      assert {:ok, %{1 => {:ok, nil}}} = Pool.broadcast(pool, environment.("activate", [venv]))

      assert {:ok, %{1 => {:ok, %{"active" => true}}}} =
               Pool.broadcast(pool, environment.("info", []))

      assert {:ok, %{1 => {:ok, nil}}} = Pool.broadcast(pool, environment.("deactivate", []))
      assert Pool.broadcast(pool, environment.("info", [])) == {:ok, before}
    end
  end

  test "each that is too old says so, whatever it is asked to run" do
    Process.flag(:trap_exit, true)

    for version <- ~w(2.7 3.6 3.7 3.8), {:ok, path} <- [Interpreter.find(python: version)] do
      said = "erlang_python needs Python 3.9 or newer, but #{path} is Python #{version}."
      assert {:error, error} = Pool.start_link(name: unique_name(), workers: 1, python: path)
      assert Exception.message(error) =~ said

      env = ErlangPython.Env.requirements(["six"], python: path, wheels: "wheels")

      for built <- [ErlangPython.Env.build(env), Runtime.provision(path)] do
        assert {:error, %Error{kind: :environment, message: message}} = built
        assert String.starts_with?(message, said)
        refute message =~ "\n"
      end
    end
  end

  test "each calls Elixir and nests, also without end" do
    :ok =
      ErlangPython.register(:interpreters_down, fn pool, n ->
        if n == 0,
          do: 0,
          else: 1 + ErlangPython.run!(down(), %{pool: pool, n: n - 1}, pool: pool)
      end)

    on_exit(fn -> ErlangPython.unregister(:interpreters_down) end)

    thread = """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(1) as threads:
        out = threads.submit(erlang.interpreters_down, pool, n).result()
    out
    """

    for {version, path} <- versions(), pool = start_pool(workers: 1, python: path) do
      [%{os_pid: os_pid}] = Pool.workers(pool)

      for code <- [down(), thread] do
        assert {version, ErlangPython.run(code, %{pool: pool, n: 200}, pool: pool)} ==
                 {version, {:ok, 200}}

        # No level is ever the last.
        assert {:error, error} = ErlangPython.run(code, %{pool: pool, n: -1}, pool: pool)
        assert {version, Exception.message(error)} |> inspect() =~ "RecursionError"
      end

      assert [%{os_pid: ^os_pid}] = Pool.workers(pool)
    end
  end

  defp down, do: "erlang.interpreters_down(pool, n)"

  defp dev_version do
    {version, 0} =
      System.cmd(TestPython.executable(), [
        "-c",
        "import sys; print('%d.%d' % sys.version_info[:2])"
      ])

    String.trim(version)
  end

  test "each serves as an ErlPort instance" do
    modules = Path.expand("../fixtures/erlport", __DIR__)

    for {_version, path} <- versions() do
      {:ok, instance} = ErlPort.start_link(python: path, python_path: modules)
      values = [:atom, "bytes", ~c"text", [1 | 2], {%{a: nil}}, 2 ** 80, self()]
      assert ErlPort.call(instance, :erlport_user, :echo, [values]) === values
      day = ErlPort.call(instance, :datetime, :date, [2024, 2, 29])
      assert ErlPort.call(instance, :builtins, :str, [day]) == ~c"2024-02-29"
      assert ErlPort.call(instance, :erlport_user, :forward, [self()]) == :ok
      send(instance, :message)
      assert_receive :message

      assert {:python, :"builtins.ZeroDivisionError", _text, _frames} =
               catch_error(ErlPort.call(instance, :operator, :truediv, [1, 0]))

      assert ErlPort.stop(instance) == :ok
    end
  end

  test "a virtual environment without the packages gets them, and keeps its own", %{tmp_dir: dir} do
    venv = Path.join(dir, "venv")
    {_output, 0} = System.cmd(TestPython.executable(), ["-m", "venv", "--without-pip", venv])
    [site] = Path.wildcard("#{venv}/lib/python*/site-packages")
    File.write!(Path.join(site, "only_here.py"), "value = 5")
    pool = start_pool(workers: 1, python: nil, venv: venv)
    assert ErlangPython.eval("__import__('only_here').value", %{}, pool: pool) == {:ok, 5}
    assert {:ok, prefix} = ErlangPython.eval("__import__('sys').prefix", %{}, pool: pool)
    assert File.stat!(prefix).inode == File.stat!(venv).inode
    # The user's code finds nothing of ours in it.
    assert File.ls!(site) -- ["only_here.py", "__pycache__"] == []
  end

  test "an environment with pyzmq and msgpack of its own uses those" do
    pool = start_pool(workers: 1)

    for package <- ["zmq", "msgpack"] do
      code = """
      import os, sys, #{package}
      os.path.realpath(#{package}.__file__).startswith(os.path.realpath(sys.prefix))
      """

      assert ErlangPython.run(code, %{}, pool: pool) == {:ok, true}
    end
  end
end
