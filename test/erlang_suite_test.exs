defmodule ErlangPython.ErlangSuiteTest do
  # The EUnit tests of the Erlang face (test/erlang), each module in a node of its own: with the compiled library and
  # no Mix, as in an Erlang application, and with an application environment of its own. Not async, for some measure time.
  use ExUnit.Case, async: false

  alias ErlangPython.TestPython

  for file <- Path.wildcard(Path.join(__DIR__, "erlang/py*_tests.erl")) do
    module = Path.basename(file, ".erl")

    test module do
      {output, status} = System.cmd("erl", arguments(unquote(module)), stderr_to_stdout: true)
      assert status == 0, output
    end
  end

  defp arguments(module) do
    library = Path.join(Mix.Project.build_path(), "lib/erlang_python")
    folders = [Path.join(library, "ebin"), Path.join(library, "consolidated")]
    elixir = for app <- [:elixir, :logger], do: app |> :code.lib_dir() |> Path.join("ebin")

    # `-pa` puts each before those so far.
    paths = Enum.flat_map(elixir ++ folders, &["-pa", to_string(&1)])
    python = ["-erlang_python", "python", ~s(<<"#{TestPython.executable()}">>)]
    ["-noinput"] ++ paths ++ python ++ ["-eval", "py_test:main(#{module})"]
  end
end
