defmodule ErlangPython.DemoTest do
  # The tour of `make demo`, with a look at what people are shown.
  use ExUnit.Case, async: true

  alias ErlangPython.TestPython

  @moduletag timeout: 300_000

  test "the tour shows every kind of result, and no failure that it does not mean to" do
    {shown, status} =
      System.cmd("mix", ["run", "--no-compile", "examples/demo.exs"],
        cd: Path.expand("..", __DIR__),
        env: [{"MIX_ENV", "test"}, {"ERLANG_PYTHON_DEMO_PYTHON", TestPython.executable()}],
        stderr_to_stdout: true
      )

    assert status == 0, shown
    # The letters' number: NumPy has run.
    assert shown =~ ~s("samples" => 11358)
    assert shown =~ "RuntimeError: the shopping list is broken"
    assert kinds(shown) == ["timeout", "worker_exit"]
    refute shown =~ "ModuleNotFoundError"
  end

  defp kinds(shown), do: ~r/Error\{kind: :(\w+)/ |> Regex.scan(shown) |> Enum.map(&List.last/1)
end
