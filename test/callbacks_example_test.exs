defmodule ErlangPython.CallbacksExampleTest do
  # examples/callbacks.exs as a user runs it. Not async: its times are part of what it shows.
  use ExUnit.Case, async: false

  @moduletag timeout: 120_000

  test "goes through all steps, and ten callbacks of 100 ms take little more than one" do
    {output, status} =
      System.cmd("mix", ["run", "--no-compile", "examples/callbacks.exs"],
        env: [
          {"MIX_ENV", "test"},
          {"ERLANG_PYTHON_EXAMPLE", ErlangPython.TestPython.executable()}
        ],
        stderr_to_stdout: true
      )

    assert status == 0, output
    assert output =~ "Done."

    # One after another they would take 1,000 ms; the rest is room for a busy machine.
    for [_all, ms] <- Regex.scan(~r/(?:ten tasks|ten threads): (\d+) ms/, output),
        do: assert(String.to_integer(ms) in 100..700)
  end
end
