defmodule ErlangPython.Pool.ConfiguredTest do
  # Pools of the configuration, which start with their first use.
  # Not async: the configuration is everybody's.
  use ErlangPython.PoolCase, async: false

  alias ErlangPython.Pool.{Handle, Heir}
  alias ErlangPython.TestPython

  defp configure do
    pool = unique_name()
    before = Application.get_env(:erlang_python, :pools, [])
    options = [name: pool, workers: 1, python: TestPython.executable()]
    Application.put_env(:erlang_python, :pools, [options | before])

    on_exit(fn ->
      Application.put_env(:erlang_python, :pools, before)

      with pid when is_pid(pid) <- ErlangPython.Pool.Supervisor.whereis(pool),
           do: DynamicSupervisor.terminate_child(ErlangPython.Pools, pid)
    end)

    pool
  end

  test "one that has all but ended starts anew" do
    pool = configure()
    test = self()

    # A pool's supervisor whose parts have ended: it has the name, and answers nobody any more.
    ending =
      spawn_link(fn ->
        {:ok, _registry} = Registry.register(ErlangPython.Pool.Names, pool, nil)
        send(test, :ending)

        receive do
          {:"$gen_call", _from, _whatever} -> :ok
        end
      end)

    assert_receive :ending
    assert ErlangPython.call(:math, :sqrt, [16], pool: pool) == {:ok, 4.0}
    refute Process.alive?(ending)
  end

  test "one that ended together with the heir of its name starts anew" do
    pool = configure()
    assert ErlangPython.call(:math, :sqrt, [16], pool: pool) == {:ok, 4.0}
    ended = handle(pool)
    assert Pool.stop(pool) == :ok
    # As it is when nobody was there to take it away.
    Handle.publish(ended)
    heir = Process.whereis(Heir)
    ref = Process.monitor(heir)
    Process.exit(heir, :kill)
    assert_receive {:DOWN, ^ref, :process, ^heir, :killed}
    eventually(fn -> assert is_pid(Process.whereis(Heir)) end)
    assert ErlangPython.call(:math, :sqrt, [16], pool: pool) == {:ok, 4.0}
  end

  test "a pool stops in order where there is no heir, as after the application has stopped" do
    pool = start_pool(workers: 1)
    :ok = Supervisor.terminate_child(ErlangPython.Supervisor, Heir)

    try do
      assert ErlangPython.eval("1 + 1", %{}, pool: pool) == {:ok, 2}
      assert stop_supervised(pool) == :ok
      # It was not killed for want of patience: then it could not have taken its name away.
      assert Handle.fetch(pool) == :error
    after
      {:ok, _heir} = Supervisor.restart_child(ErlangPython.Supervisor, Heir)
    end
  end

  test "one that can't start says why, as a value, and starts when the cause is gone" do
    pool = configure()
    name = {pool, :workers}
    {:ok, _registry} = Registry.register(ErlangPython.Pool.Names, name, nil)

    assert {:error, %Error{kind: :no_pool, executed: :no} = error} =
             ErlangPython.call(:math, :sqrt, [16], pool: pool)

    assert error.message =~
             "#{inspect(pool)} could not start: already started: #{inspect(self())}"

    Registry.unregister(ErlangPython.Pool.Names, name)
    assert ErlangPython.call(:math, :sqrt, [16], pool: pool) == {:ok, 4.0}
  end
end
