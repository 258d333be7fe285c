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
          fn -> ErlangPython.cast(:math, :sqrt, [1]) end,
          fn -> :py.call_async(:math, :sqrt, [4]) end,
          fn -> :py.stream_start(:builtins, :iter, [[1]]) end,
          fn -> :py.await(make_ref()) end,
          fn -> :py.async_await(make_ref()) end,
          fn -> :py.stream_cancel(make_ref()) end,
          fn -> :py.enable_tracing() end,
          fn -> :py.disable_tracing() end,
          fn -> :py.get_traces() end,
          fn -> :py.clear_traces() end,
          fn -> :py_semaphore.acquire(0) end,
          fn -> :py_semaphore.release() end,
          fn -> :py_semaphore.current() end,
          fn -> :py_semaphore.max_concurrent() end,
          fn -> :py_semaphore.set_max_concurrent(1) end,
          fn -> ErlangPython.register(:early, &(&1)) end,
          fn -> ErlangPython.unregister(:early) end,
          fn -> ErlangPython.registered() end,
          fn -> ErlangPython.State.get(:early) end,
          fn -> ErlangPython.State.put(:early, 1) end,
          fn -> ErlangPython.State.incr(:early) end,
          fn -> ErlangPython.State.keys() end,
          fn -> ErlangPython.Env.build(ErlangPython.Env.requirements(["six"])) end
        ] do
      try do
        call.()
      rescue
        raised in ErlangPython.Error -> true = raised.message == error.message
      else
        {:error, said} -> true = said.message == error.message
        other -> raise "got \#{inspect(other)}"
      end
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
    # `py` has a bare reason, and says more in the log.
    assert output =~ ~r/no_workers_available: .*application:ensure_all_started\(erlang_python\)/
  end
end
