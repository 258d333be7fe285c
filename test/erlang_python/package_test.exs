defmodule ErlangPython.PackageTest do
  # What users get: the files that the package ships as a dependency of a new project, run by Mix and as a
  # release. Real tools in folders of their own, with a home folder that is empty.
  use ExUnit.Case, async: true

  import ErlangPython.PoolCase, only: [eventually: 1, os_process?: 1]

  alias ErlangPython.TestPython

  @host Path.expand("../fixtures/host", __DIR__)
  @root Path.expand("../..", __DIR__)
  @call "IO.inspect({:result, ErlangPython.call!(:math, :sqrt, [16], pool: :host)})"

  setup_all do
    folder = Path.join(System.tmp_dir!(), "erlang_python-package-#{System.pid()}")
    on_exit(fn -> remove(folder) end)
    for name <- ["home", "runtime", "elsewhere"], do: File.mkdir_p!(Path.join(folder, name))
    project = Path.join(folder, "project")
    shipped = ship(Path.join(folder, "erlang_python"))
    File.cp_r!(@host, project)

    # The first use fills the runtime folder; nothing after it needs a network.
    compiled = mix!(folder, ["compile", "--warnings-as-errors"])
    ran = mix!(folder, ["run", "-e", @call])
    mix!(folder, ["release", "--quiet"])

    release = Path.join([folder, "elsewhere", "host"])
    File.rename!(Path.join(project, "_build/prod/rel/host"), release)
    remove(project)
    remove(Path.join(folder, "erlang_python"))

    %{folder: folder, release: release, shipped: shipped, compiled: compiled, ran: ran}
  end

  # A release has thousands of files, and `File.rm_rf` asks the node's one file server twice for each.
  defp remove(folder), do: {_, 0} = System.cmd("rm", ["-rf", folder])

  # `files` and `exclude_patterns` of mix.exs, expanded as Hex does it.
  defp ship(target) do
    package = Mix.Project.config()[:package]

    files =
      for pattern <- package[:files],
          path <- Path.wildcard(Path.join(@root, pattern)),
          file <- files(path),
          relative = Path.relative_to(file, @root),
          not Enum.any?(package[:exclude_patterns], &(relative =~ &1)),
          do: relative

    for file <- files do
      File.mkdir_p!(Path.join(target, Path.dirname(file)))
      File.cp!(Path.join(@root, file), Path.join(target, file))
    end

    files
  end

  defp files(path) do
    if File.dir?(path),
      do: path |> File.ls!() |> Enum.flat_map(&files(Path.join(path, &1))),
      else: [path]
  end

  # The environment of this test run, as it says how to reach a package index; Mix's settings are the project's own.
  defp mix!(folder, arguments) do
    mix_settings = for {"MIX_" <> _rest = name, _value} <- System.get_env(), do: {name, nil}

    {output, status} =
      System.cmd("mix", arguments,
        cd: Path.join(folder, "project"),
        stderr_to_stdout: true,
        env: mix_settings ++ [{"MIX_ENV", "prod"} | environment(folder)]
      )

    assert status == 0, "mix #{Enum.join(arguments, " ")}:\n#{output}"
    output
  end

  defp environment(folder) do
    [
      {"HOME", Path.join(folder, "home")},
      {"HOST_PYTHON", interpreter()},
      {"ERLANG_PYTHON_RUNTIME_DIR", Path.join(folder, "runtime")}
    ]
  end

  # Not the tests' own environment, which has pyzmq: what it was made from.
  defp interpreter do
    {path, 0} =
      System.cmd(TestPython.executable(), ["-c", "import sys; print(sys._base_executable)"])

    String.trim(path)
  end

  # Nothing but these variables.
  defp bare_environment(folder) do
    distribution = [{"RELEASE_DISTRIBUTION", "none"}, {"LC_ALL", System.get_env("LC_ALL")}]

    for {name, value} when value != nil <-
          [{"PATH", "/usr/bin:/bin"} | distribution] ++ environment(folder),
        do: "#{name}=#{value}"
  end

  defp eval(%{folder: folder, release: release}, code) do
    arguments =
      ["-i" | bare_environment(folder)] ++ [Path.join(release, "bin/host"), "eval", code]

    System.cmd("env", arguments, stderr_to_stdout: true, cd: Path.join(folder, "elsewhere"))
  end

  test "ships its Python code and no traces of having run it", %{shipped: shipped} do
    for file <-
          ~w(mix.exs README.md LICENSE priv/programs/bootstrap.py priv/python/erlang/py.typed),
        do: assert(file in shipped)

    assert Enum.filter(shipped, &(&1 =~ ~r/__pycache__|\.pyc$|test|bench/)) == []
  end

  test "compiles as a dependency without a warning, and without Hex", context do
    refute context.compiled =~ "warning"
    assert context.compiled =~ "Generated erlang_python app"
    assert context.ran =~ "{:result, 4.0}"
    refute File.exists?(Path.join(context.folder, "home/.mix"))
  end

  test "runs in a release that was moved, with an empty environment", context do
    code = "{:ok, _} = Application.ensure_all_started(:host); " <> @call
    assert {output, 0} = eval(context, code)
    assert output =~ "{:result, 4.0}"
  end

  test "starts with a release, and ends with it", %{folder: folder, release: release} do
    beam =
      Port.open({:spawn_executable, System.find_executable("env")}, [
        :binary,
        :exit_status,
        :stderr_to_stdout,
        line: 1_000,
        args: ["-i" | bare_environment(folder)] ++ [Path.join(release, "bin/host"), "start"]
      ])

    assert_receive {^beam, {:data, {:eol, "result 4.0 of worker " <> worker}}}, 60_000
    assert os_process?(worker)

    # What a service manager sends.
    {:os_pid, os_pid} = Port.info(beam, :os_pid)
    {_, 0} = System.cmd("kill", ["-TERM", "#{os_pid}"])
    assert_receive {^beam, {:exit_status, 0}}, 60_000
    eventually(fn -> refute os_process?(worker) end)
  end

  test "starts no Python before a pool is asked for, and needs no optional library", context do
    code = """
    {:ok, started} = Application.ensure_all_started(:erlang_python)
    processes = for port <- Port.list(), {:os_pid, pid} when is_integer(pid) <- [Port.info(port, :os_pid)], do: pid
    IO.inspect({:erlang_python in started, processes, Enum.filter([Nx.Tensor, Decimal, Jason], &Code.ensure_loaded?/1)})
    """

    assert eval(context, code) == {"{true, [], []}\n", 0}
  end
end
