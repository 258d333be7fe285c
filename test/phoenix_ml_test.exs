defmodule ErlangPython.PhoenixMlTest do
  # examples/phoenix_ml as its own project: copied, compiled against this checkout without Phoenix, started, and asked over
  # HTTP by fifty clients at once. Not async: it is a load test.
  use ExUnit.Case, async: false

  alias ErlangPython.TestPython

  # The first run downloads the model.
  @moduletag timeout: 600_000

  @root Path.expand("..", __DIR__)
  @project Path.join(@root, "examples/phoenix_ml")

  @tag :tmp_dir
  test "serves fifty clients, and each failure has its status", %{tmp_dir: folder} do
    project = Path.join(folder, "phoenix_ml")
    File.cp_r!(@project, project)

    # uv is there; what it has installed is kept in the cache, and what Mix has compiled with the tests.
    env = %{
      "MIX_BUILD_PATH" => Path.join(Mix.Project.build_path(), "phoenix_ml"),
      "WITHOUT_PHOENIX" => "1",
      "ERLANG_PYTHON" => @root,
      "MIX_ENV" => "test",
      "PATH" => Path.dirname(TestPython.executable()) <> ":" <> System.get_env("PATH")
    }

    {output, status} = System.cmd("mix", ["test"], cd: project, env: env, stderr_to_stdout: true)
    assert status == 0, output
    assert output =~ ~r"200 searches by 50 clients: \d+/s"
    # As Elixir up to 1.19 says it, and since.
    assert output =~ ~r/[1-9]\d* tests, 0 failures|Result: [1-9]\d* passed/
    refute output =~ "warning:"
  end

  test "the files for Phoenix can be parsed, and have the routes of the front" do
    files = Path.wildcard(Path.join(@project, "web/**/*.ex"))
    assert length(files) == 7
    for file <- files, do: file |> File.read!() |> Code.string_to_quoted!(file: file)

    router = File.read!(Path.join(@project, "web/router.ex"))
    front = File.read!(Path.join(@project, "front/routes.ex"))

    for [_all, method, path] <- Regex.scan(~r/(get|post) "([^"]+)"/, router),
        do: assert(front =~ ~s({"#{String.upcase(method)}", "#{path}"}))
  end
end
