defmodule ErlangPython.Pool.OptionsTest do
  # Not async: sets the application's environment.
  use ExUnit.Case, async: false

  alias ErlangPython.Env
  alias ErlangPython.Pool.Options

  test "fills in defaults" do
    options = Options.new!(name: :a)
    assert options.workers == System.schedulers_online()
    assert options.max_queue == 10_000
    assert options.grace == 1_000
  end

  test "needs a name" do
    assert_raise ArgumentError, ~r/a pool needs the option :name/, fn -> Options.new!([]) end
  end

  test "names an unknown option and lists the known ones" do
    assert_raise ArgumentError, ~r/unknown pool option :strategy, the known.*:workers/s, fn ->
      Options.new!(name: :a, strategy: :lifo)
    end

    assert_raise ArgumentError, "the pool option :workers is given twice", fn ->
      Options.new!(name: :a, workers: 1, workers: 2)
    end

    assert_raise ArgumentError, ~r/option :wrokers \(did you mean :workers\?\)/, fn ->
      Options.new!(name: :a, wrokers: 3)
    end
  end

  test "says what the option of another library is called" do
    for {theirs, ours} <- [pool_size: "workers: ", python_path: "paths: ", cwd: "cd: "] do
      assert_raise ArgumentError, ~r/option #{inspect(theirs)}, here it is `#{ours}/, fn ->
        Options.new!([{theirs, 3}, name: :a])
      end
    end
  end

  @wrong [
    name: "a",
    workers: 0,
    workers: 2_000,
    max_queue: -1,
    max_concurrent: 0,
    python: 3,
    venv: "",
    env: ["A"],
    cd: :here,
    paths: "src",
    preload: "numpy",
    preload: [1],
    start_timeout: 0,
    grace: :infinity,
    heartbeat: 0,
    max_requests: 0,
    max_memory: "1G",
    max_message_size: 10,
    stdout: :stderr,
    window: 257,
    endpoint: :inproc,
    lazy: 1
  ]

  for {key, value} <- @wrong do
    test "says what #{key} must be when it is #{inspect(value)}" do
      error =
        assert_raise ArgumentError, fn ->
          Options.new!(Keyword.put([name: :a], unquote(key), unquote(Macro.escape(value))))
        end

      assert error.message =~ "expected #{inspect(unquote(key))} to be"
    end
  end

  test "takes no text that would not come to Python as it is" do
    for {key, value} <- [
          python: "a\0b",
          venv: <<255>>,
          cd: "/tmp\0",
          paths: ["\0"],
          env: %{"A=B" => "c"},
          env: %{"" => "c"},
          env: [{"A", "b\0c"}],
          env: [{"A\0", "b"}],
          env: [{"A", <<255>>}],
          env: [{"A", {1}}],
          preload: [nil],
          preload: [""],
          preload: ["import json"],
          preload: [{:code, <<255>>}]
        ] do
      error = assert_raise ArgumentError, fn -> Options.new!([{key, value}, name: :a]) end
      assert error.message =~ "expected #{inspect(key)} to be"
    end
  end

  test "takes strings as Erlang writes them" do
    options =
      Options.new!(
        name: :a,
        venv: ~c"/srv/größer",
        cd: ~c"/srv",
        paths: [~c"lib", "python"],
        env: [{~c"A", ~c"1"}, {"B", ~c""}, {:C, nil}],
        preload: [~c"os.path", :json, {:code, ~c"x = 1\ny = 2"}]
      )

    assert %{venv: "/srv/größer", cd: "/srv"} = options
    assert Options.new!(name: :a, python: ~c"3.12").python == "3.12"
    assert options.paths == [Path.expand("lib"), Path.expand("python")]
    assert options.env == [{"A", "1"}, {"B", ""}, {"C", nil}]
    assert options.preload == [module: "os.path", module: "json", code: "x = 1\ny = 2"]

    for {erlang, elixir} <- [
          {{:system, python: ~c"3.12"}, Env.system(python: "3.12")},
          {{:venv, ~c"/srv"}, Env.venv("/srv")},
          {{:uv, ~c"py/pyproject.toml"}, Env.uv("py/pyproject.toml")},
          {{:uv, pyproject: ~c"py", extras: [~c"gpu"]}, Env.uv(pyproject: "py", extras: ["gpu"])},
          {{:requirements, [~c"six", "numpy"]}, Env.requirements(["six", "numpy"])},
          {{:requirements, ~c"py/r.txt"}, Env.requirements("py/r.txt")},
          {{:requirements, [~c"six"], wheels: ~c"w"}, Env.requirements(["six"], wheels: "w")}
        ],
        do: assert(Options.new!(name: :a, python: erlang).python == elixir)
  end

  test "takes no string of Erlang's for a list" do
    for {key, value, expected} <- [
          {:paths, ~c"lib", "a list of folders"},
          {:preload, ~c"json", "a list of modules"},
          {:env, ~c"A=1", "a map or list of variables"},
          {:cd, ~c"", "a non-empty string"},
          {:cd, [?a, 0], "a non-empty string"},
          {:paths, [~c"lib", []], "a non-empty string"},
          {:preload, [~c"import json"], "modules and"},
          {:preload, [{:code, [0]}], "code in UTF-8"},
          {:env, [{[0], "a"}], "pairs of a name"},
          {:python, [0], "a path, a version"}
        ] do
      error = assert_raise ArgumentError, fn -> Options.new!([{key, value}, name: :a]) end
      assert error.message =~ "expected #{inspect(key)} to be #{expected}"
    end

    for python <- [{:uv, pyproject: "py", extras: ~c"gpu"}, {:requirements, [[0]]}, {:venv, [0]}],
        do: assert_raise(ArgumentError, fn -> Options.new!(name: :a, python: python) end)
  end

  test "waits for no longer than the BEAM can" do
    for key <- [:grace, :heartbeat, :start_timeout] do
      waited = Map.fetch!(Options.new!([{key, Integer.pow(2, 70)}, name: :a]), key)
      assert waited > :timer.hours(24 * 30)
      # A supervisor waits for its worker a little longer.
      assert waited + 60_000 < Integer.pow(2, 32)
    end
  end

  test "takes its Python from the application where the pool names none" do
    Application.put_env(:erlang_python, :python, "3.12")
    Application.put_env(:erlang_python, :paths, ["lib/python"])

    on_exit(fn ->
      for key <- [:python, :paths, :venv], do: Application.delete_env(:erlang_python, key)
    end)

    paths = [Path.expand("lib/python")]
    assert %{python: "3.12", paths: ^paths} = Options.new!(name: :a)
    assert %{python: "3.9", paths: []} = Options.new!(name: :a, python: "3.9", paths: [])
    assert %{python: nil, venv: "/srv/venv"} = Options.new!(name: :a, venv: "/srv/venv")
    assert %{python: "3.12", venv: nil} = Options.new!(name: :a, venv: nil)

    Application.delete_env(:erlang_python, :python)
    Application.put_env(:erlang_python, :venv, "/srv/venv")
    assert %{venv: "/srv/venv"} = Options.new!(name: :a)
    assert %{python: "3.9", venv: nil} = Options.new!(name: :a, python: "3.9")
  end

  test "refuses two Pythons for one pool" do
    for both <- [[venv: "v", python: "3.9"], [python: {:requirements, ["six"]}, venv: "v"]],
        do:
          assert_raise(ArgumentError, ~r/:python or :venv, got both: "v" has an interp/, fn ->
            Options.new!([name: :a] ++ both)
          end)

    assert %{python: "3.9", venv: nil} = Options.new!(name: :a, python: "3.9", venv: nil)
  end

  test "takes reload from the application" do
    Application.put_env(:erlang_python, :reload, :auto)
    on_exit(fn -> Application.delete_env(:erlang_python, :reload) end)
    assert %{reload: :auto} = Options.new!(name: :a)
    assert %{reload: :manual} = Options.new!(name: :a, reload: :manual)
  end

  test "takes folders by the current one, and by the home folder" do
    options = Options.new!(name: :a, cd: "lib", paths: ["python", "~/python", "/srv//python/"])
    assert options.cd == Path.expand("lib")
    assert options.paths == [Path.expand("python"), Path.expand("~/python"), "/srv/python"]
  end

  test "takes variables, paths and modules in the ways people write them" do
    options =
      Options.new!(
        name: :a,
        env: %{"A" => 1, B: nil},
        preload: [:json, "os.path", {:code, "x = 1"}]
      )

    assert Enum.sort(options.env) == [{"A", "1"}, {"B", nil}]
    assert options.preload == [module: "json", module: "os.path", code: "x = 1"]
  end
end
