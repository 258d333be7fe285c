defmodule ErlangPython.ExamplesTest do
  # Each example as `make examples` runs it. Not async: their times are part of what they show.
  use ExUnit.Case, async: false

  import ErlangPython.PoolCase, only: [assert_within: 2]

  @moduletag timeout: 600_000

  @script Path.expand("../scripts/examples.sh", __DIR__)
  {names, 0} = System.cmd(@script, ["--list"])

  for name <- String.split(names) do
    test name do
      {output, status} = run([unquote(name)])
      assert status == 0, output
      check(unquote(name), output)
    end
  end

  test "one that fails is named, and the others run" do
    {output, status} = run(["no_such_example", "callbacks"])
    assert status == 1
    assert output =~ "Done."
    assert output =~ "failed: no_such_example\n"
  end

  defp run(arguments),
    do: System.cmd(@script, arguments, env: [{"MIX_ENV", "test"}], stderr_to_stdout: true)

  defp check("demo", output) do
    assert output =~ "The tour took"
    assert_fits(output)
  end

  # Two at a time would take half of the time that they take one after another.
  defp check("callbacks", output) do
    assert output =~ "Done."

    if percent(output) > 40,
      do: assert_within(40, fn -> ["callbacks"] |> run() |> elem(0) |> percent() end)
  end

  defp check("token_streaming", output) do
    assert output =~ "You asked: What is a monad? It depends. \n"
    assert output =~ "40 readers have their answers"
    assert output =~ ~s(["You ", "asked: "])
    assert output =~ "abandoned: Why?"
  end

  defp check("erlang", output) do
    for name <- ~w(basic_calls shared_state context_affinity reentrant concurrency),
        do: assert(output =~ "== #{name} ==")

    assert output =~ "fibonacci(30) is 832040"
    assert_fits(output)
  end

  defp check("py_tour", output), do: assert_fits(output)
  # They fail by their status.
  defp check(_other, _output), do: :ok

  defp percent(output) do
    [tasks, threads, alone] =
      for [_all, ms] <-
            Regex.scan(~r/(?:ten tasks|ten threads|one after another): (\d+) ms/, output),
          do: String.to_integer(ms)

    assert min(tasks, threads) >= 100 and alone >= 1_000
    100 * max(tasks, threads) / alone
  end

  defp assert_fits(output),
    do: assert(output |> String.split("\n") |> Enum.filter(&(String.length(&1) > 80)) == [])
end
