defmodule ErlangPython.Callbacks.OwnPoolTest do
  # What a function that Python calls may ask of the pool that it is called from.
  use ErlangPython.PoolCase, async: false

  alias ErlangPython.Pool

  setup do
    on_exit(fn -> ErlangPython.unregister("own_pool") end)
    {:ok, pool: start_pool(workers: 1)}
  end

  defp in_callback(pool, function) do
    :ok = ErlangPython.register("own_pool", function)
    ErlangPython.run("import erlang\nerlang.call('own_pool')", %{}, pool: pool)
  end

  for {name, function} <- ["restart/1": :restart, "stop/1": :stop] do
    test "#{name} would wait for itself, and says so", %{pool: pool} do
      assert {:error, error} = in_callback(pool, fn -> apply(Pool, unquote(function), [pool]) end)

      assert %{kind: :elixir, details: %{reason: %ArgumentError{message: message}}} = error
      assert message =~ "ErlangPython.Pool.#{unquote(name)} waits until the requests of"
      assert message =~ "start a process for it"
      assert ErlangPython.call(:math, :sqrt, [16], pool: pool) == {:ok, 4.0}
    end
  end

  test "stop/2 does not wait for longer than it is told", %{pool: pool} do
    assert {:error, %Error{kind: :no_pool}} = in_callback(pool, fn -> Pool.stop(pool, 1) end)
  end

  test "a process of its own restarts it, after the request", %{pool: pool} do
    [%{os_pid: before}] = Pool.workers(pool)
    test = self()

    assert in_callback(pool, fn ->
             {:ok, _pid} = Task.start(fn -> send(test, {:restarted, Pool.restart(pool)}) end)
             :started
           end) == {:ok, :started}

    assert_receive {:restarted, :ok}, 30_000
    [%{os_pid: now}] = Pool.workers(pool)
    assert now != before
  end

  test "another pool may be restarted and stopped", %{pool: pool} do
    other = start_pool(workers: 1)

    assert in_callback(pool, fn -> [Pool.restart(other), Pool.stop(other)] end) ==
             {:ok, [:ok, :ok]}
  end
end
