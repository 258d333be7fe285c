defmodule ErlangPython.Examples.TokenStreamingTest do
  use ExUnit.Case, async: true

  @moduletag timeout: 120_000

  test "gives each reader its answer, and closes what is abandoned" do
    {output, status} =
      System.cmd("mix", ["run", "--no-compile", "examples/token_streaming.exs"],
        env: [{"MIX_ENV", "test"}],
        stderr_to_stdout: true
      )

    assert status == 0, output
    assert output =~ "You asked: What is a monad? It depends. \n"
    assert output =~ "40 readers have their answers"
    assert output =~ ~s(["You ", "asked: "])
    assert output =~ "abandoned: Why?"
  end
end
