defmodule ErlangPython.Pool.ConfiguredTest do
  # Pools of the configuration, which start with their first use.
  # Not async: the configuration is everybody's.
  use ErlangPython.PoolCase, async: false

  alias ErlangPython.{LogEvents, TestPython}
  alias ErlangPython.Pool.{Configured, Handle, Heir}

  defp configure(own \\ []) do
    pool = unique_name()
    before = Application.get_env(:erlang_python, :pools, [])
    options = Keyword.merge([name: pool, workers: 1, python: TestPython.executable()], own)
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

  test "one that stands in a supervision tree has what the configuration says, unless it says otherwise" do
    pool = configure(max_queue: 7, grace: 300, env: %{"A" => "configured"})
    start_supervised!({Pool, name: pool, grace: 400})

    assert %{workers: 1, max_queue: 7, grace: 400} = handle(pool).options
    assert ErlangPython.info(pool: pool).executable == TestPython.executable()
    assert ErlangPython.call(:os, :getenv, ["A"], pool: pool) == {:ok, "configured"}
  end

  test "a virtual environment in the tree takes the place of a configured Python" do
    pool = configure()
    venv = TestPython.executable() |> Path.dirname() |> Path.dirname()
    start_supervised!({Pool, name: pool, venv: venv})
    assert %{python: nil, venv: ^venv} = handle(pool).options
  end

  test "the default pool in a supervision tree has the numbers of the Erlang face" do
    put_env(:pools, [])
    put_env(:num_workers, 3)
    put_env(:max_concurrent, 9)

    assert [workers: 3, max_concurrent: 9] =
             Keyword.delete(Configured.complete(name: :default), :name)

    assert Configured.complete(name: :default, workers: 1)[:workers] == 1
    assert Configured.complete(name: :no_such_pool) == [name: :no_such_pool]
  end

  test "wrong options are an error when the application starts" do
    put_env(:pools, [[name: :fine, workers: 1], [name: :wrong, worker: 2]])

    assert_raise ArgumentError,
                 ~r/^config :erlang_python, pool :wrong: unknown pool option :worker \(did you mean :workers\?\)/,
                 fn -> ErlangPython.Application.start(:normal, []) end

    put_env(:pools, [])
    put_env(:num_workers, 0)

    assert_raise ArgumentError, ~r/num_workers: \.\.\. to be an integer of at least 1/, fn ->
      ErlangPython.Application.start(:normal, [])
    end
  end

  test "a folder of :paths that is not there is a warning, once" do
    LogEvents.forward()
    pool = configure(paths: ["no/such/folder", "lib"], workers: 2)
    assert ErlangPython.call(:math, :sqrt, [16], pool: pool) == {:ok, 4.0}
    missing = Path.expand("no/such/folder")
    assert_received {:logged, :warning, "the pool " <> said}
    assert said =~ "#{inspect(pool)} has #{missing} in :paths, which does not exist"
    assert said =~ "The current folder is #{File.cwd!()}"
    refute_received {:logged, :warning, "the pool " <> _another}
  end

  defp put_env(key, value) do
    before = Application.fetch_env(:erlang_python, key)
    Application.put_env(:erlang_python, key, value)

    on_exit(fn ->
      case before do
        {:ok, value} -> Application.put_env(:erlang_python, key, value)
        :error -> Application.delete_env(:erlang_python, key)
      end
    end)
  end
end
