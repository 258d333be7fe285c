defmodule ErlangPython.EnvTest do
  # Real environments, by real uv, from real wheels, and with every way to the network closed. Not async: the
  # variables belong to the whole node.
  use ErlangPython.PoolCase, async: false

  import ExUnit.CaptureLog

  alias ErlangPython.{Env, NoNetwork, TestPython, WheelFolder}
  alias ErlangPython.Env.{Interpreter, Runtime}

  @moduletag :tmp_dir
  # Nothing listens there.
  @six_file "__import__('six').__file__"

  # What is needed of the network, once, before it is closed.
  setup_all do
    {:ok, default} = Interpreter.find([])
    other = other_python()

    pythons =
      if other, do: [TestPython.executable(), elem(other, 0)], else: [TestPython.executable()]

    root = Path.expand("../../.cache/runtime/#{Runtime.lock_id()}", __DIR__)
    for python <- [default | pythons], do: :ok = Runtime.provision(python, root: root)
    WheelFolder.with_uv()
    %{root: root, other: other}
  end

  setup %{tmp_dir: tmp_dir, root: root} do
    base = Path.expand(tmp_dir)
    wheels = WheelFolder.small()
    File.ln_s!(root, Path.join(base, Runtime.lock_id()))
    bin = Path.dirname(TestPython.executable())

    put_env(%{
      "ERLANG_PYTHON_RUNTIME_DIR" => base,
      # uv is there.
      "PATH" => bin <> ":" <> System.get_env("PATH"),
      "UV_CACHE_DIR" => Path.join(base, "uv-cache")
    })

    put_env(Map.new(NoNetwork.variables()))

    %{base: base, wheels: wheels}
  end

  defp put_env(variables) do
    before = Map.new(variables, fn {name, _value} -> {name, System.get_env(name)} end)
    System.put_env(variables)
    on_exit(fn -> System.put_env(before) end)
  end

  defp project(requires, dependencies \\ ~s("six")) do
    """
    [project]
    name = "shop"
    version = "1"
    requires-python = "#{requires}"
    dependencies = [#{dependencies}]

    [project.optional-dependencies]
    more = ["iniconfig"]

    [dependency-groups]
    testing = ["iniconfig"]
    """
  end

  # An interpreter of this machine that is not the default one, and its minor version.
  defp other_python do
    {:ok, default} = Interpreter.find([])
    {:ok, "Python " <> default} = version(default)

    Enum.find_value(9..14, fn minor ->
      with false <- String.starts_with?(default, "3.#{minor}."),
           {:ok, path} <- Interpreter.find(python: "3.#{minor}") do
        {path, "3.#{minor}"}
      else
        _the_default_or_not_here -> nil
      end
    end)
  end

  defp version(python) do
    {said, 0} = System.cmd(python, ["--version"])
    {:ok, String.trim(said)}
  end

  describe "a pool" do
    test "has the packages that it names, built once for all of its workers", context do
      %{base: base, wheels: wheels} = context

      log =
        capture_log(fn ->
          # Building takes longer than a worker may take to start; it is not counted.
          pool = start_pool(workers: 3, python: {:requirements, ["six"], wheels: wheels})
          assert {:ok, file} = ErlangPython.eval(@six_file, %{}, pool: pool)
          assert String.starts_with?(file, Path.join(base, "envs"))
        end)

      assert [_before, _after] = String.split(log, "building the environment #{base}")

      # Another pool, with the same content, in the same folder.
      env = Env.requirements(["six"], wheels: wheels)
      pool = start_pool(workers: 1, python: env)
      assert {:ok, _file} = ErlangPython.eval(@six_file, %{}, pool: pool)
      assert [_one] = Path.wildcard(Path.join(base, "envs/*"))

      # What it lacks belongs there too.
      assert {:error, %{notes: [note]}} = ErlangPython.call(:no_such, :f, [], pool: pool)
      assert note =~ "Not found by the pool #{inspect(pool)} (#{base}"
      assert note =~ "Add packages to its requirements"
    end

    test "runs on the interpreter that its project names", %{wheels: wheels, other: other} do
      case other do
        nil ->
          :this_machine_has_one_python

        {path, version} ->
          text = project("==#{version}.*")
          pool = start_pool(workers: 1, python: {:uv, pyproject: text, wheels: wheels})
          assert String.starts_with?(ErlangPython.info(pool: pool).python, version <> ".")
          assert {:ok, _file} = ErlangPython.eval(@six_file, %{}, pool: pool)

          # Two at once, each with its own Python.
          default = start_pool(workers: 1, python: Env.requirements(["six"], wheels: wheels))
          refute String.starts_with?(ErlangPython.info(pool: default).python, version <> ".")

          # Named by hand, it has to fit all the same.
          {:ok, unfit} = Interpreter.find([])
          env = Env.uv(pyproject: text, wheels: wheels, python: unfit)
          assert {:error, error} = Env.build(env)
          assert error.message =~ "#{unfit} does not fit"
          assert error.message =~ "==#{version}.*"
          assert {:ok, _python} = Env.build(%{env | python: path})
      end
    end

    test "gets the error when its environment can't be built", %{wheels: wheels} do
      pool = unique_name()
      options = [name: pool, workers: 1, python: {:requirements, ["no-such"], wheels: wheels}]
      Process.flag(:trap_exit, true)

      capture_log(fn ->
        assert {:error, error} = Pool.start_link(options)
        error = error.cause || error
        assert error.kind == :environment
        assert error.message =~ "no-such"
        assert error.message =~ "to try by hand: "
      end)
    end
  end

  describe "build/2" do
    test "takes a file, with its extras and groups, and tells the steps", context do
      %{tmp_dir: folder, wheels: wheels} = context
      path = Path.join(folder, "pyproject.toml")
      File.write!(path, project(">=3.9"))
      test = self()

      log =
        capture_log(fn ->
          assert {:ok, plain} = Env.build(Env.uv(pyproject: path, wheels: wheels))
          refute imports?(plain, "iniconfig")

          for chosen <- [[extras: ["more"]], [groups: [:testing]]] do
            env = Env.uv([pyproject: folder, wheels: wheels] ++ chosen)
            assert {:ok, python} = Env.build(env, progress: &send(test, {:step, &1, self()}))
            assert imports?(python, "six") and imports?(python, "iniconfig")
            assert_received {:step, "building the environment " <> _folder, ^test}
            assert_received {:step, "Installed 2 packages" <> _time, ^test}
          end
        end)

      # Only the one without a function.
      assert [_before, _after] = String.split(log, "building the environment")
    end

    test "follows a change of the content, and a lock", %{tmp_dir: folder, wheels: wheels} do
      path = Path.join(folder, "pyproject.toml")
      env = Env.uv(pyproject: path, wheels: wheels)
      File.write!(path, project(">=3.9"))
      assert {:ok, first} = Env.build(env)
      assert Env.build(env) == {:ok, first}

      File.write!(path, project(">=3.9", ~s("six", "iniconfig")))
      assert {:ok, second} = Env.build(env)
      assert second != first and imports?(second, "iniconfig")

      File.write!(path, project(">=3.9"))
      lock = ["lock", "--quiet", "--no-index", "--find-links", wheels, "--project", folder]
      {_, 0} = System.cmd("uv", lock, stderr_to_stdout: true)
      assert {:ok, third} = Env.build(env)
      assert third not in [first, second] and imports?(third, "six")
    end

    test "takes a requirements.txt, and follows those that it names", context do
      %{tmp_dir: folder, wheels: wheels} = context
      path = Path.join(folder, "requirements.txt")
      pins = Path.join(folder, "pins/pins.txt")
      File.mkdir_p!(Path.dirname(pins))
      # Those that name each other, by relative paths.
      File.write!(pins, "six==1.17.0\n-r ../requirements.txt\n")
      File.write!(path, "# What the shop needs\n-c pins/pins.txt  # its versions\nsix\n")
      env = Env.requirements(path, wheels: wheels)
      assert {:ok, first} = Env.build(env)
      assert imports?(first, "six")
      assert Env.build(env) == {:ok, first}

      File.write!(pins, "six==1.0.0\n")

      capture_log(fn ->
        assert {:error, error} = Env.build(env)
        assert error.message =~ "six==1.0.0"
      end)

      # The same lines, but where they lie matters.
      folders =
        for place <- ["one", "two"] do
          file = Path.join([folder, place, "requirements.txt"])
          File.mkdir_p!(Path.dirname(file))
          File.write!(file, "./local\n")
          assert {:ok, built} = Env.Build.folder(Env.requirements(file))
          built
        end

      assert [one, two] = folders
      assert one != two

      File.rm!(pins)
      assert {:error, error} = Env.build(env)
      assert error.message == "cannot read #{pins}: no such file or directory"
    end

    test "a requirements.txt without uv, with hashes", %{tmp_dir: folder, wheels: wheels} do
      path = Path.join(folder, "requirements.txt")
      [wheel] = Path.wildcard(Path.join(wheels, "six-*.whl"))
      hash = :sha256 |> :crypto.hash(File.read!(wheel)) |> Base.encode16(case: :lower)
      File.write!(path, "six==1.17.0 \\\n    --hash=sha256:#{hash}\n")
      {:ok, python} = Interpreter.find([])
      put_env(%{"PATH" => "/usr/bin:/bin"})
      assert {:ok, built} = Env.build(Env.requirements(path, python: python, wheels: wheels))
      assert imports?(built, "six")

      File.write!(path, "six==1.17.0 --hash=sha256:#{String.duplicate("0", 64)}\n")

      capture_log(fn ->
        assert {:error, error} = Env.build(Env.requirements(path, python: python, wheels: wheels))

        assert error.message =~
                 ~r"ERROR: THESE PACKAGES DO NOT MATCH THE HASHES(.|\n)*Expected sha256 0000"
      end)
    end

    test "builds anew what was damaged", %{wheels: wheels} do
      env = Env.requirements(["six"], wheels: wheels)
      assert {:ok, python} = Env.build(env)
      File.rm!(python)
      assert Env.build(env) == {:ok, python}
      assert imports?(python, "six")
    end

    test "takes uv from a wheel folder where there is none", %{base: base} do
      {:ok, python} = Interpreter.find([])
      put_env(%{"PATH" => "/usr/bin:/bin"})
      env = Env.requirements(["six"], python: python, wheels: WheelFolder.with_uv())
      assert {:ok, built} = Env.build(env)
      assert imports?(built, "six")
      assert File.exists?(Path.join(base, "uv/bin/uv"))
    end

    test "does without uv for plain requirements", %{base: base, wheels: wheels} do
      {:ok, python} = Interpreter.find([])
      put_env(%{"PATH" => "/usr/bin:/bin"})
      assert {:ok, built} = Env.build(Env.requirements(["six"], python: python, wheels: wheels))
      assert imports?(built, "six")
      refute File.exists?(Path.join(base, "uv"))
    end

    test "says what to do without a network" do
      capture_log(fn ->
        assert {:error, %Error{kind: :environment, executed: :no} = error} =
                 Env.build(Env.requirements(["six"]))

        assert error.message =~ "cannot build the environment "
        assert error.message =~ "pip download --dest DIR uv six"
        assert File.exists?(error.details.python)
      end)
    end

    test "names what is missing", %{base: base, wheels: wheels} do
      assert {:error, error} = Env.build(Env.uv("#{base}/none.toml"))
      assert error.message == "cannot read #{base}/none.toml: no such file or directory"

      for env <- [Env.uv("no/none.toml"), Env.requirements("no/none.toml")] do
        assert {:error, error} = Env.build(env)

        assert error.message =~
                 "cannot read #{Path.expand("no/none.toml")}: no such file or directory. " <>
                   "Relative paths belong to the current folder, #{File.cwd!()}: "

        assert error.message =~ ~s|Application.app_dir(:my_app, "no/none.toml")|
      end

      text = project("==3.99.*")
      env = Env.uv(pyproject: text, wheels: wheels, downloads: false)

      capture_log(fn ->
        assert {:error, error} = Env.build(env)
        assert error.message =~ "no Python ==3.99.* was found, and downloads are off"
        assert error.message =~ "uv python install"
      end)

      # Neither pip nor a wheel could help.
      put_env(%{"PATH" => "/usr/bin:/bin"})

      capture_log(fn ->
        assert {:error, error} =
                 Env.build(Env.requirements(["six"], python: "3.99", wheels: wheels))

        assert error.message =~ "no uv on the PATH"
      end)

      assert {:error, error} = Env.build(Env.venv("#{base}/none"))

      assert error.message ==
               "no such virtual environment: #{base}/none (`python3 -m venv #{base}/none` makes one)"
    end

    test "says what to do where a Python can't be downloaded", %{tmp_dir: folder} do
      # One that uv offers and nobody has here.
      list = ~w(python list --only-downloads --no-config)
      {offered, 0} = System.cmd("uv", list, stderr_to_stdout: true)
      [_, version] = Regex.run(~r/^cpython-(3\.\d+\.\d+)-/m, offered)
      File.write!(Path.join(folder, "pyproject.toml"), project(">=3.9"))

      # A project's file says so before its `requires-python` does.
      File.write!(Path.join(folder, ".python-version"), "# of the project\n#{version}\n")

      capture_log(fn ->
        for env <- [
              Env.uv(folder),
              Env.uv(pyproject: project("==#{version}")),
              Env.requirements(["six"], python: version)
            ] do
          assert {:error, error} = Env.build(env)
          assert error.message =~ ~r/no Python (==)?#{version} was found, and uv could not/
          assert error.message =~ "Failed to download"
          assert error.message =~ "UV_PYTHON_INSTALL_MIRROR"
          assert error.message =~ "`python: path`"
          # Wheels are not what is missing.
          refute error.message =~ "pip download"
        end

        assert {:error, error} = Env.build(Env.uv(pyproject: folder, downloads: false))
        assert error.message =~ "no Python #{version} was found, and downloads are off"
      end)
    end

    test "asks uv for a Python where there is none at all", context do
      %{base: base, wheels: wheels} = context
      alone = Path.join(base, "alone")
      File.mkdir_p!(alone)
      File.ln_s!(System.find_executable("uv"), Path.join(alone, "uv"))
      put_env(%{"PATH" => alone, "UV_PYTHON_INSTALL_DIR" => alone})

      capture_log(fn ->
        for downloads <- [true, false] do
          env = Env.requirements(["six"], wheels: wheels, downloads: downloads)
          assert {:error, error} = Env.build(env)
          assert error.message =~ "there is no Python on the PATH"
          assert error.message =~ "install Python 3.9 or newer"
        end

        # For the one that is named, and no newer one.
        assert {:error, error} =
                 Env.build(Env.requirements(["six"], wheels: wheels, python: "3.98"))

        assert "error: No interpreter found for Python 3.98 in " <> _where = error.message
        assert error.message =~ "uv was asked for 3.98"
        assert error.message =~ "install Python 3.98"
      end)

      File.rm!(Path.join(alone, "uv"))
      put_env(%{"PYENV_ROOT" => alone})

      for {python, said} <- [
            {"3.98", "no Python 3.98: "},
            {nil, "no python3 or python on the PATH"}
          ] do
        env = Env.requirements(["six"], python: python)
        assert {:error, error} = Env.build(env)
        assert String.starts_with?(error.message, said)
        assert String.ends_with?(error.message, ", or install uv, which brings a Python")
        assert {:error, error} = Env.build(%{env | downloads: false})
        refute error.message =~ "install uv,"
      end
    end

    test "gives what is there as it is" do
      venv = TestPython.executable() |> Path.dirname() |> Path.dirname()
      assert Env.build(Env.venv(venv)) == {:ok, TestPython.executable()}
      assert Env.build(Env.system()) == Interpreter.find([])
    end
  end

  @tag none: []
  test "wrong descriptions are refused where they are written", %{none: none} do
    for {wrong, message} <- [
          {fn -> Env.requirements(none) end, ~r/expected a list of requirements/},
          {fn -> Env.requirements(["--index-url=x"]) end, ~r/expected a list of requirements/},
          {fn -> Env.requirements(["requirements.txt"]) end,
           ~r/is a file, .*in place of the list/},
          {fn -> Env.requirements("numpy") end, ~r/or the path of a requirements.txt/},
          {fn -> Env.requirements(["six"], wheel: "x") end, ~r/did you mean :wheels\?/},
          {fn -> Env.uv(python: "3.12") end, ~r/with :pyproject/},
          {fn -> Env.uv(pyproject: "x", extras: "more") end, ~r/:extras to be a list/},
          {fn -> Env.uv(pyproject: "x", downloads: :no) end, ~r/:downloads to be a boolean/},
          {fn -> Env.venv(nil) end, ~r/:path to be a non-empty string/},
          {fn -> Pool.start_link(name: :bad, python: {:conda, "x"}) end, ~r/ErlangPython.Env/}
        ],
        do: assert_raise(ArgumentError, message, wrong)
  end

  defp imports?(python, module) do
    {_said, status} = System.cmd(python, ["-I", "-c", "import #{module}"], stderr_to_stdout: true)
    status == 0
  end
end
