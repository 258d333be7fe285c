defmodule ErlangPython.TasksTest do
  # The Mix tasks as commands of a project of its own, that of examples/docker, with the network closed.
  use ExUnit.Case, async: true

  alias ErlangPython.Env.{Interpreter, Runtime}
  alias ErlangPython.{NoNetwork, TestPython, WheelFolder}

  @root Path.expand("../..", __DIR__)

  setup_all do
    folder = Path.join(System.tmp_dir!(), "erlang_python-tasks-#{System.pid()}")
    on_exit(fn -> {_, 0} = System.cmd("rm", ["-rf", folder]) end)
    File.mkdir_p!(folder)
    project = Path.join(folder, "project")
    {_, 0} = System.cmd("cp", ["-R", Path.join(@root, "examples/docker"), project])
    shipped = Path.join(folder, "erlang_python")
    File.mkdir_p!(shipped)
    parts = for part <- ~w(lib priv mix.exs), do: Path.join(@root, part)
    {_, 0} = System.cmd("cp", ["-R" | parts] ++ [shipped])

    {:ok, python} = Interpreter.find([])
    wheels = WheelFolder.with_uv()
    runtime = Path.join(@root, ".cache/runtime/#{Runtime.lock_id()}")
    :ok = Runtime.provision(python, root: runtime)

    # Mix would compile the library anew for each change of the file.
    File.write!(Path.join(project, "config/config.exs"), """
    import Config
    {pools, _} = Code.eval_string(System.fetch_env!("POOLS"))
    config :erlang_python, pools: pools
    """)

    named =
      "erlang_python: [environments: elem(Code.eval_string(System.get_env(\"NAMED\", \"[]\")), 0)]"

    mix_exs = Path.join(project, "mix.exs")
    File.write!(mix_exs, String.replace(File.read!(mix_exs), "[shop: [", "[shop: [#{named}, "))

    # As `Application.app_dir/2` names it in a release.
    File.mkdir_p!(Path.join(project, "priv/python"))
    File.write!(Path.join(project, "priv/python/requirements.txt"), "six\n")
    File.write!(Path.join(project, "priv/python/shop.py"), "def open(): return True\n")

    requirements = fn name, package ->
      [name: name, workers: 1, python: {:requirements, [package], python: python, wheels: wheels}]
    end

    %{
      folder: folder,
      project: project,
      shipped: shipped,
      runtime: runtime,
      python: python,
      default: requirements.(:default, "six"),
      absent: requirements.(:absent, "no-such-package")
    }
  end

  # A cache of its own, in which the runtime packages are there.
  defp cache(context) do
    base = Path.join(context.folder, "cache-#{System.unique_integer([:positive])}")
    File.mkdir_p!(base)
    File.ln_s!(context.runtime, Path.join(base, Runtime.lock_id()))
    base
  end

  defp mix(context, base, task, variables \\ []) do
    System.cmd("mix", String.split(task),
      cd: context.project,
      stderr_to_stdout: true,
      env: environment(context, base) ++ variables
    )
  end

  # What the project's release has under `environments:`.
  defp named(environments), do: {"NAMED", inspect(environments, limit: :infinity)}

  # As the project's configuration.
  defp pools(pools), do: {"POOLS", inspect(pools, limit: :infinity)}

  defp environment(context, base) do
    mix_settings = for {"MIX_" <> _rest = name, _value} <- System.get_env(), do: {name, nil}

    NoNetwork.variables() ++
      mix_settings ++
      [
        pools([context.default]),
        {"MIX_ENV", "prod"},
        {"ERLANG_PYTHON", context.shipped},
        {"ERLANG_PYTHON_RUNTIME_DIR", base},
        {"PATH", Path.dirname(TestPython.executable()) <> ":" <> System.get_env("PATH")}
      ]
  end

  test "setup builds ahead, after which the doctor has no complaint", context do
    base = cache(context)

    {said, 1} = mix(context, base, "erlang_python.doctor")
    assert said =~ ~r/failed .*Python of :default: not built yet: #{base}\/envs/
    assert said =~ "to do: run `mix erlang_python.setup`, which builds it"
    assert said =~ "1 of 5 checks failed."

    {said, 0} = mix(context, base, "erlang_python.setup")
    assert said =~ "[....................] 0/1 building the environment #{base}/envs/"
    assert said =~ "0/1 Installed 1 package"
    assert said =~ "[####################] 1/1 ready"

    {said, 0} = mix(context, base, "erlang_python.setup")
    refute said =~ "building"

    {said, 0} = mix(context, base, "erlang_python.doctor")
    assert said =~ ~r/ok .*Python of :default: six: #{base}\/envs\//
    assert said =~ ~r/a worker of :default: starts in \d+ ms, answers in \d+ µs/
    assert said =~ "All is well."
    assert said =~ "Pools of supervision trees are not seen."
  end

  test "both look at what a release names", context do
    base = cache(context)
    [_name, _workers, {:python, env}] = context.default
    variables = [pools([]), named([env, {:requirements, ["six"], Keyword.new(elem(env, 2))}])]

    {said, 1} = mix(context, base, "erlang_python.doctor", variables)
    assert said =~ ~r/failed .*Python of the releases: not built yet: #{base}\/envs/
    # The default pool is not configured.
    assert said =~ "1 of 5 checks failed."

    assert said =~
             "what mix.exs names in releases: [my_app: [erlang_python: [environments: [...]]]]"

    {said, 0} = mix(context, base, "erlang_python.setup", variables)
    assert said =~ "0/1 six (the releases): #{base}/envs/"
    assert said =~ ~r/1\/1 ready\nOnly configured pools were looked at/

    {said, 0} = mix(context, base, "erlang_python.doctor", variables)
    assert said =~ ~r/ok .*Python of the releases: six: #{base}\/envs\//
  end

  test "a release has the environments that pools of supervision trees name by other paths",
       context do
    [_name, _workers, {:python, {:requirements, ["six"], options}}] = context.default
    runtime = Path.join(context.project, "config/runtime.exs")
    # Read here while the release is put together, and in the release when it starts.
    File.write!(runtime, """
    import Config
    python = Application.app_dir(:shop, "priv/python")
    config :erlang_python, paths: [python], preload: ["shop"]
    """)

    on_exit(fn -> File.rm!(runtime) end)
    release = Path.join(context.folder, "release")
    command = "release --quiet --overwrite --path #{release}"
    # The workers' packages are fetched.
    network = for {name, _closed} <- NoNetwork.variables(), do: {name, System.get_env(name)}
    variables = [pools([]) | network]

    {said, 0} = mix(context, cache(context), command, [named([]) | variables])
    assert said =~ "* python: Only configured pools were looked at"
    assert said =~ "must be on the target; what its workers need is in the release"

    named = named([{:requirements, "priv/python/requirements.txt", options}])
    {said, 0} = mix(context, cache(context), command, [named | variables])
    assert said =~ "requirements.txt is in the release"
    refute said =~ "Only configured pools"

    code = """
    {:ok, _} = Application.ensure_all_started(:erlang_python)
    options = #{inspect(options)}
    start = fn env -> ErlangPython.Pool.start_link(name: :tree, workers: 1, python: env) end
    path = Application.app_dir(:shop, "priv/python/requirements.txt")
    {:ok, pid} = start.({:requirements, path, options})
    IO.puts("six in \#{ErlangPython.eval!("__import__('six').__file__", %{}, pool: :tree)}")
    true = ErlangPython.call!(:shop, :open, [], pool: :tree)
    Supervisor.stop(pid)
    Process.flag(:trap_exit, true)
    for env <- [{:requirements, ["no-such"], options}, {:requirements, "priv/none.txt"}] do
      {:error, error} = start.(env)
      IO.puts(Exception.message(error))
    end
    """

    {said, 0} =
      System.cmd(Path.join(release, "bin/shop"), ["eval", code],
        cd: "/",
        stderr_to_stdout: true,
        env: environment(context, cache(context))
      )

    assert said =~ "six in #{release}/lib/erlang_python-"
    not_there = "the environment of no-such is not in this release. Name it in mix.exs"
    assert [_before, warned, failed] = String.split(said, not_there)
    assert warned =~ "cannot build the environment "

    assert failed =~
             "cannot read /priv/none.txt: no such file or directory. Relative paths belong"

    assert failed =~ "the environment of priv/none.txt is not in this release"
  end

  test "the doctor says what to do about the machine", context do
    base = Path.join(cache(context), "file")
    File.write!(base, "")
    long = Path.join(context.folder, String.duplicate("long", 30))

    {said, 1} = mix(context, base, "erlang_python.doctor", [{"TMPDIR", long}])
    assert said =~ ~r/failed .*cache folder: #{base}: /
    assert said =~ "to do: set ERLANG_PYTHON_RUNTIME_DIR"

    limited = "ulimit -n 200; exec mix erlang_python.doctor"

    {said, 1} =
      System.cmd("/bin/sh", ["-c", limited],
        cd: context.project,
        stderr_to_stdout: true,
        env: environment(context, cache(context))
      )

    assert said =~ "this user may have 200 open files"
    assert said =~ "to do: raise it: `ulimit -n 1024`"
  end

  test "the doctor starts each pool with its own options", context do
    whole = [name: :whole, workers: 1, python: context.python]
    broken = [name: :broken, workers: 1, python: context.python, preload: ["no_such_module"]]
    old = Path.join(context.folder, "python3.8")

    # Says where it is, and then what such a Python says to the doctor.
    File.write!(old, """
    #!/bin/sh
    case "$*" in *version_info*) echo Python 3.8, erlang_python needs 3.9 or newer; exit 3;; esac
    echo #{old}
    """)

    File.chmod!(old, 0o755)
    configured = pools([broken, [name: :old, python: old], whole])

    # The report is on stdout alone, so that its lines keep their order.
    {said, 1} =
      System.cmd("mix", ["erlang_python.doctor"],
        cd: context.project,
        env: environment(context, cache(context)) ++ [configured]
      )

    assert said =~ ~r/failed .*a worker of :broken: .*No module named 'no_such_module'/s
    assert said =~ "Not found by the pool :broken (#{context.python}, Python "
    assert said =~ ~r/failed .*Python of :old: .*is Python 3.8, erlang_python needs 3.9/
    assert said =~ "a worker of :whole: starts in"
  end

  test "setup fails with what the installer said, and builds the rest", context do
    base = cache(context)

    configured = pools([context.absent, context.default])
    {said, 1} = mix(context, base, "erlang_python.setup", [configured])
    assert said =~ "no-such-package (:absent): cannot build the environment #{base}/envs/"
    assert said =~ "to try by hand: "
    assert said =~ "2 Installed 1 package"
  end

  test "both name the pool whose options are wrong", context do
    configured = pools([[name: :wrong, size: 2]])
    wrong = "config :erlang_python, pool :wrong: unknown pool option :size, here it is `workers: "

    {said, 1} = mix(context, cache(context), "erlang_python.doctor", [configured])
    assert said =~ "failed  configuration: " <> wrong
    assert said =~ "1 of 5 checks failed."

    {said, 1} = mix(context, cache(context), "erlang_python.setup", [configured])
    assert said =~ "** (Mix) " <> wrong
  end

  test "neither takes arguments", context do
    for task <- ["setup", "doctor"] do
      {said, 1} =
        System.cmd("mix", ["erlang_python.#{task}", "now"],
          cd: context.project,
          stderr_to_stdout: true,
          env: environment(context, context.folder)
        )

      assert said =~ "mix erlang_python.#{task} takes no arguments"
    end
  end
end
