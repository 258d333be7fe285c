defmodule ErlangPython.Pool.StartTest do
  # Pools that start, with what their options give to Python, and pools that can not.
  use ErlangPython.PoolCase, async: true

  @moduletag :tmp_dir

  test "a worker that finds no place for its file says so, and leaves nothing" do
    pool = start_pool(workers: 1, endpoint: :tcp)
    alias ErlangPython.Pool.Directory
    folder = Directory.folder(handle(pool))
    File.rename!(folder, folder <> "x")
    # Missing, it would be made anew.
    File.touch!(folder)
    assert {:error, %Error{kind: :environment, executed: :no} = error} = Pool.restart(pool)
    assert error.message =~ "cannot write #{folder}/"
    File.rm!(folder)
    File.rename!(folder <> "x", folder)
    eventually(fn -> assert {:ok, 2} = ErlangPython.eval("1 + 1", %{}, pool: pool) end)
    assert [_of_the_worker] = :ets.match(handle(pool).directory, {{:token, :"$1"}, :_})
  end

  describe "start_link/1" do
    test "returns when each worker is ready" do
      pool = start_pool(workers: 3)
      assert %{workers: 3, idle: 3, starting: 0} = Pool.stats(pool)
    end

    test "waits for Python to read for as long as a call takes" do
      pool = start_pool(workers: 1)
      {_generation, worker, _writer} = pool |> handle() |> ErlangPython.Pool.Directory.worker(1)

      sockets =
        for {_ref, {_channel, reader}} <- :sys.get_state(worker).readers,
            {:links, links} = Process.info(reader, :links),
            socket when is_port(socket) <- links,
            do: socket

      assert [_main, _control] = sockets

      for socket <- sockets,
          do: assert(:inet.getopts(socket, [:send_timeout]) == {:ok, send_timeout: :infinity})
    end

    test "fails with what Python printed if a preload raises" do
      assert {:error, {%Error{kind: :no_workers, executed: :no} = error, _child}} =
               start_supervised(
                 {Pool,
                  name: unique_name(),
                  workers: 1,
                  python: ErlangPython.TestPython.executable(),
                  stdout: :ignore,
                  preload: [:no_such_module]}
               )

      assert error.message =~ "ModuleNotFoundError: No module named 'no_such_module'"
      assert error.cause.type == "ModuleNotFoundError"
    end

    test "fails if the interpreter is not there" do
      assert {:error, {%Error{kind: :environment} = error, _child}} =
               start_supervised({Pool, name: unique_name(), python: "/no/such/python"})

      assert error.message =~ "/no/such/python"
    end

    test "fails if the interpreter is something else", %{tmp_dir: dir} do
      path = Path.join(dir, "python")
      File.write!(path, "#!/bin/sh\necho this is no python >&2\nexit 3\n")
      File.chmod!(path, 0o755)

      assert {:error, {%Error{kind: kind} = error, _child}} =
               start_supervised({Pool, name: unique_name(), python: path, stdout: :ignore})

      assert kind in [:environment, :no_workers]
      assert Exception.message(error) =~ "this is no python"
    end

    test "fails if its folder is not there" do
      options = [
        name: unique_name(),
        python: ErlangPython.TestPython.executable(),
        cd: "/no/such"
      ]

      assert {:error, {%Error{kind: :environment} = error, _}} = start_supervised({Pool, options})
      assert error.message =~ "the folder in :cd is missing: /no/such"
    end

    test "says why, however soon that is" do
      for _ <- 1..100 do
        assert {:error, {%Error{kind: :environment} = error, _child}} =
                 start_supervised({Pool, name: unique_name(), workers: 1, python: "3"})

        assert error.message =~ "no version of Python"
      end
    end

    test "leaves no process behind after a failure" do
      before = DynamicSupervisor.count_children(ErlangPython.Pools)
      name = unique_name()
      assert {:error, _reason} = start_supervised({Pool, name: name, python: "/no/such/python"})
      assert ErlangPython.Pool.Supervisor.whereis(name) == nil
      assert DynamicSupervisor.count_children(ErlangPython.Pools) == before
    end

    test "a name can be used once" do
      pool = start_pool(workers: 1)
      assert {:error, {:already_started, _pid}} = Pool.start_link(name: pool)
    end
  end

  describe "a pool that can't start" do
    test "tells each caller why, at once" do
      pool = start_pool(workers: 1, lazy: true, preload: [:no_such_module])

      assert {:error, %Error{kind: :no_workers, executed: :no} = error} =
               ErlangPython.eval("1", %{}, pool: pool, timeout: :infinity)

      assert error.message =~ "no_such_module"
      assert {:error, %Error{kind: :no_workers}} = ErlangPython.eval("1", %{}, pool: pool)
    end

    test "is not restarted: who asks for that is told why" do
      pool = start_pool(workers: 2, lazy: true, python: "/no/such/python")
      assert {:error, %Error{kind: :environment} = error} = Pool.restart(pool)
      assert error.message =~ "/no/such/python"
    end

    test "serves again when the cause is gone", %{tmp_dir: dir} do
      pool = start_pool(workers: 1, lazy: true, paths: [dir], preload: [:comes_later])
      assert {:error, %Error{kind: :no_workers}} = ErlangPython.eval("1", %{}, pool: pool)
      File.write!(Path.join(dir, "comes_later.py"), "x = 5")

      eventually(fn ->
        assert {:ok, 5} = ErlangPython.eval("__import__('comes_later').x", %{}, pool: pool)
      end)
    end
  end

  describe "options" do
    test ":preload, :paths, :env and :cd reach Python", %{tmp_dir: dir} do
      File.write!(Path.join(dir, "mine.py"), "value = 7")

      pool =
        start_pool(
          workers: 1,
          paths: [dir],
          cd: dir,
          env: [{"A_VARIABLE", "a value"}],
          preload: [:mine, {:code, "def twice(x): return 2 * x"}]
        )

      assert {:ok, true} =
               ErlangPython.eval("'mine' in __import__('sys').modules", %{}, pool: pool)

      assert {:ok, 4} = ErlangPython.call(:__main__, :twice, [2], pool: pool)

      assert {:ok, "a value"} =
               ErlangPython.eval("__import__('os').environ['A_VARIABLE']", %{}, pool: pool)

      assert {:ok, cwd} = ErlangPython.call(:os, :getcwd, [], pool: pool)
      assert File.stat!(cwd).inode == File.stat!(dir).inode
    end

    test "the worker's own settings are not in Python's environment" do
      pool = start_pool(workers: 1)

      assert {:ok, []} =
               ErlangPython.eval(
                 "[k for k in __import__('os').environ if k.startswith('ERLANG_PYTHON')]",
                 %{},
                 pool: pool
               )
    end

    test "its folder of small files goes with it, whatever the endpoint" do
      for endpoint <- [:ipc, :tcp] do
        pool = start_pool(workers: 1, endpoint: endpoint)
        folder = ErlangPython.Pool.Directory.folder(handle(pool))
        assert File.dir?(folder)
        assert stop_supervised(pool) == :ok
        refute File.exists?(folder)
      end
    end

    test ":endpoint tcp serves as ipc does" do
      pool = start_pool(workers: 1, endpoint: :tcp)
      assert {:ok, 4.0} = ErlangPython.call(:math, :sqrt, [16], pool: pool)
    end

    test ":channel pyzmq serves as direct does" do
      big = :binary.copy(<<0, 255>>, 500_000)

      for channel <- [:direct, :pyzmq] do
        pool = start_pool(workers: 1, channel: channel)
        assert {:ok, 4.0} = ErlangPython.call(:math, :sqrt, [16], pool: pool)
        assert {:ok, ^big} = ErlangPython.call(:builtins, :bytes, [big], pool: pool)
        assert is_binary(ErlangPython.info(pool: pool).packages["pyzmq"]) == (channel == :pyzmq)
      end
    end

    test "two pools keep apart", %{tmp_dir: dir} do
      one = start_pool(workers: 1, preload: [{:code, "who = 1"}])
      two = start_pool(workers: 1, preload: [{:code, "who = 2"}], cd: dir)
      assert ErlangPython.eval("who", %{}, pool: one) == {:ok, 1}
      assert ErlangPython.eval("who", %{}, pool: two) == {:ok, 2}
    end
  end

  test "an unknown pool" do
    assert {:error, %Error{kind: :no_pool, executed: :no} = error} =
             ErlangPython.eval("1", %{}, pool: :nowhere)

    assert error.message =~ "no running pool :nowhere: start"

    for result <- [
          Pool.broadcast(:nowhere, {:eval, "1"}),
          Pool.scale(:nowhere, 2),
          Pool.restart(:nowhere),
          Pool.stacks(:nowhere, 1),
          Pool.interrupt(:nowhere, 1)
        ],
        do: assert({:error, %Error{kind: :no_pool}} = result)

    for no_result <- [&Pool.stats/1, &Pool.workers/1, &Pool.stop/1] do
      assert_raise Error, ~r/:nowhere/, fn -> no_result.(:nowhere) end

      assert_raise ArgumentError, ~r/name of a pool, an atom, got: "nowhere"/, fn ->
        no_result.("nowhere")
      end
    end

    assert {:error, error} = ErlangPython.eval("1", %{}, pool: :defalt)
    assert error.message =~ "no running pool :defalt (did you mean :default?): start"
  end

  test "a thread may take long for its handshake, as where C code holds Python's lock" do
    router = ErlangPython.Pool.Directory.router(handle(start_pool(workers: 1)))
    assert :sys.get_state(router).config.handshake_timeout == 60_000
  end

  test "one that starts again under its supervisor says so" do
    pool = unique_name()
    {:ok, _registry} = Registry.register(ErlangPython.Pool.Names, pool, nil)
    assert {:error, %Error{kind: :no_pool} = error} = ErlangPython.eval("1", %{}, pool: pool)
    assert error.message == "the pool #{inspect(pool)} is starting again, or about to end"
  end
end
