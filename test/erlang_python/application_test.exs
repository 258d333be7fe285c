defmodule ErlangPython.ApplicationTest do
  use ExUnit.Case, async: true

  test "who calls before the application runs is told to start it" do
    script = """
    pool = [name: :early, workers: 1]
    {:error, error} = ErlangPython.Pool.start_link(pool)
    {:error, ^error} = ErlangPython.eval("1", %{}, pool: :early)
    {:error, %{kind: :no_pool, executed: :no}} = ErlangPython.eval("1")
    {:error, :no_workers_available} = :py.eval("1")

    for call <- [
          fn -> ErlangPython.cast(:math, :sqrt, [4]) end,
          fn -> :py.call_async(:math, :sqrt, [4]) end,
          fn -> :py.stream_start(:builtins, :iter, [[1]]) end
        ] do
      %ErlangPython.Error{kind: :no_pool} = try(do: call.(), rescue: (error -> error))
    end

    IO.puts(Exception.message(error))
    """

    {output, status} =
      System.cmd("mix", ["run", "--no-start", "-e", script],
        env: [{"MIX_ENV", "test"}],
        stderr_to_stdout: true
      )

    assert {status, output} == {0, output}
    assert output =~ "Application.ensure_all_started(:erlang_python)"
  end
end
