defmodule ErlangPython.DeathsTest do
  # Where a worker is hurt × how: the named error comes soon, other callers are unharmed, the pool is whole
  # again, and no process or file is left.
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.Pool.{Directory, Handle}

  # Milliseconds until the caller has its error: after a death, or with half of them until its deadline.
  @soon 1_000
  defp deadline(kinds), do: if(:timeout in kinds, do: 500, else: 30_000)

  # name, what user code does to its own worker, what the caller may get
  @hurts [
    {"raises", "raise ValueError('x')", [:python]},
    {"os._exit", "import os; os._exit(7)", [:worker_exit]},
    {"segfaults", "import ctypes; ctypes.string_at(0)", [:worker_exit]},
    {"is terminated", "import os, signal; os.kill(os.getpid(), 15)", [:worker_exit]},
    {"stops itself", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", [:timeout]},
    {"closes all its descriptors", "import os; os.closerange(0, 64); 1",
     [:worker_exit, :timeout]},
    {"closes stdout and stderr, then exits", "import os; os.close(1); os.close(2); os._exit(3)",
     [:worker_exit]},
    {"closes stdout and stderr, then stops itself",
     "import os, signal; os.close(1); os.close(2); os.kill(os.getpid(), signal.SIGSTOP)",
     [:timeout]},
    {"writes garbage to all its sockets",
     """
     import os, socket, stat
     for fd in range(3, 64):
         try:
             if stat.S_ISSOCK(os.fstat(fd).st_mode): os.write(fd, bytes(range(256)) * 16)
         except OSError: pass
     """, [:ok, :worker_exit, :protocol, :timeout]},
    {"ignores signals and waits",
     "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
     [:timeout]},
    {"restores Python's own SIGINT handler and waits",
     "import signal, time; signal.signal(signal.SIGINT, signal.default_int_handler); time.sleep(60)",
     [:timeout]},
    {"removes its folder",
     "import os, tempfile; d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d); 1", [:ok]},
    {"leaves a thread that never ends",
     "import threading, time; threading.Thread(target=time.sleep, args=(600,)).start(); 1",
     [:ok]},
    {"leaves an atexit handler that never ends",
     "import atexit, time; atexit.register(time.sleep, 600); 1", [:ok]},
    {"runs out of a memory limit",
     "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); bytearray(2 << 30)",
     [:python]},
    {"runs out of descriptors",
     "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12)); l = [open('/dev/null') for _ in range(99)]",
     [:python]},
    {"tries to leave its session", "import os; os.setsid()", [:python]},
    {"leaves its process group, and exits",
     "import os\npid = os.fork()\nif pid == 0: os.setsid(); os._exit(0)\nos.waitpid(pid, 0); os._exit(4)",
     [:worker_exit]},
    {"recurses in C", "import sys; sys.setrecursionlimit(10**9)\ndef f(): return f()\nf()",
     [:worker_exit, :python, :timeout]}
  ]

  for {name, code, kinds} <- @hurts do
    test "code that #{name}" do
      pool = start_pool(workers: 2, grace: 200)

      assert_within(@soon, fn ->
        await_whole(pool, 2)

        other =
          Task.async(fn ->
            ErlangPython.run("import time; time.sleep(0.7); 'other'", %{}, pool: pool)
          end)

        eventually(fn -> assert %{busy: 1} = Pool.stats(pool) end)
        ms = hurt(pool, unquote(code), unquote(kinds))
        assert Task.await(other) == {:ok, "other"}
        ms
      end)

      whole_again(pool, 2)
    end
  end

  defp hurt(pool, code, kinds) do
    options = [pool: pool, timeout: deadline(kinds)]
    {ms, result} = milliseconds(fn -> ErlangPython.run(code, %{}, options) end)
    assert kind(result) in kinds
    ms
  end

  defp kind({:ok, _value}), do: :ok
  defp kind({:error, %Error{kind: kind}}), do: kind

  # Whole, serving on every worker, and gone without a trace when it is stopped.
  defp whole_again(pool, workers) do
    for _turn <- 1..(4 * workers),
        do: eventually(fn -> assert {:ok, 3} = ErlangPython.eval("1 + 2", %{}, pool: pool) end)

    await_whole(pool, workers)
    {:ok, handle} = Handle.fetch(pool)
    folder = Directory.folder(handle)
    python = for worker <- Pool.workers(pool), do: worker.os_pid
    assert length(Enum.uniq(python)) == workers
    stop_supervised!(pool)
    refute Enum.any?(python, &os_process?/1)
    refute File.exists?(folder)
    assert {:messages, []} = Process.info(self(), :messages)
  end

  test "what the worker had started is killed with it, but not in a session of its own" do
    pool = start_pool(workers: 1)

    code = """
    import subprocess
    started = [subprocess.Popen(["sleep", "600"], start_new_session=own) for own in (False, True)]
    [process.pid for process in started]
    """

    {:ok, [child, own]} = ErlangPython.run(code, %{}, pool: pool)
    on_exit(fn -> System.cmd("kill", ["-9", "#{own}"]) end)

    assert {:error, %Error{kind: :worker_exit}} =
             ErlangPython.exec("import os; os._exit(3)", %{}, pool: pool)

    eventually(fn -> refute os_process?(child) end)
    whole_again(pool, 1)
    assert os_process?(own)
  end

  @encoder """
  import erlang, os, time, signal
  class Thing: pass
  """

  for {name, body, kinds} <- [
        {"segfaults", "__import__('ctypes').string_at(0)", [:worker_exit]},
        {"exits", "os._exit(9)", [:worker_exit]},
        {"raises", "1 / 0", [:encode]},
        {"raises SystemExit", "exit(3)", [:python]},
        {"never returns", "time.sleep(600)", [:timeout]},
        {"returns itself for ever", "thing", [:encode, :python, :worker_exit]}
      ] do
    test "an encoder that #{name}" do
      pool = start_pool(workers: 1, grace: 200, preload: [{:code, @encoder}])

      code = """
      erlang.register_encoder(Thing, lambda thing: #{unquote(body)})
      Thing()
      """

      assert_within(@soon, fn ->
        await_whole(pool, 1)
        hurt(pool, code, unquote(kinds))
      end)

      whole_again(pool, 1)
    end
  end

  describe "while it starts, code that" do
    for {name, code, text} <- [
          {"segfaults", "import ctypes; ctypes.string_at(0)", "SIGSEGV"},
          {"exits with 0", "import os; os._exit(0)", "exited with status 0"},
          {"exits with 3", "print('so long'); import os; os._exit(3)", "so long"},
          {"raises", "1 / 0", "ZeroDivisionError"},
          {"raises SystemExit", "raise SystemExit(5)", "SystemExit"},
          {"prints rubbish and hangs",
           "import os, time; os.write(1, bytes(range(256))); time.sleep(600)",
           "was not ready within 1500 ms"},
          {"hangs in C", "import ctypes; ctypes.PyDLL(None).sleep(600)",
           "was not ready within 1500 ms"},
          {"stops itself", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
           "was not ready within 1500 ms"}
        ] do
      test name do
        start_timeout = if unquote(text) =~ "1500", do: 1_500, else: 60_000
        name = unique_name()

        options = [
          name: name,
          workers: 1,
          python: ErlangPython.TestPython.executable(),
          stdout: :ignore,
          start_timeout: start_timeout,
          preload: [{:code, unquote(code)}]
        ]

        assert {:error, {%Error{kind: :no_workers, executed: :no} = error, _child}} =
                 start_supervised({Pool, options})

        assert Exception.message(error) =~ unquote(text)
        assert ErlangPython.Pool.Supervisor.whereis(name) == nil
      end
    end
  end

  describe "an idle worker that is" do
    test "stopped from outside is replaced at the deadline of the next request" do
      pool = start_pool(workers: 1, grace: 200)
      [%{os_pid: os_pid}] = Pool.workers(pool)
      suspend(os_pid)

      assert {:error, %Error{kind: :timeout}} =
               ErlangPython.eval("1", %{}, pool: pool, timeout: 200)

      eventually(fn -> refute os_process?(os_pid) end)
      whole_again(pool, 1)
    end

    test "stopped from outside does not hold up a restart or a stop" do
      pool = start_pool(workers: 1, grace: 200)
      [%{os_pid: os_pid}] = Pool.workers(pool)
      suspend(os_pid)
      assert Pool.restart(pool) == :ok
      refute os_process?(os_pid)
      [%{os_pid: os_pid}] = Pool.workers(pool)
      suspend(os_pid)
      stop_supervised!(pool)
      refute os_process?(os_pid)
    end
  end
end
