defmodule ErlangPython.BenchTest do
  # Do the benchmarks still run? What they measure is for people, on a quiet machine. Not async: they would measure
  # the other tests, and those them.
  use ExUnit.Case, async: false

  @moduletag timeout: 300_000

  test "the rows with their baselines" do
    output = bench("run.exs", ["--quick", "latency", "callbacks", "collections"])
    assert output =~ ~r/call p50, one caller.*pyzmq echo/
    assert output =~ ~r/callback p50, from a coroutine.*call p50/
    assert output =~ ~r/echo of 10,000 floats.*pickle/
  end

  test "a row that does not exist is named" do
    {output, 2} = run("run.exs", ["latency", "no_such_row"])
    assert output =~ "unknown: no_such_row"
  end

  test "the profile of a call" do
    output = bench("profile.exs", ["1"])

    for part <- ["way there: writer, socket", "pending row", "parse the ZMTP frame", "note what"],
        do: assert(output =~ ~r/#{part}.* µs/)
  end

  test "the codec" do
    assert bench("codec.exs", ["1"]) =~ ~r/^small call .*\d/m
  end

  defp bench(script, arguments) do
    {output, status} = run(script, arguments)
    assert status == 0, output
    output
  end

  defp run(script, arguments) do
    System.cmd("mix", ["run", "bench/#{script}" | arguments],
      env: [{"MIX_ENV", "test"}],
      stderr_to_stdout: true
    )
  end
end
