defmodule ErlangPython.EndsTest do
  # The ways in which a request ends badly: where Python dies or misbehaves, and how; what its caller gets; that
  # the pool is whole afterwards. Each row runs on the same pool, so each also tests
  # that those before it left nothing behind.
  use ErlangPython.PoolCase, async: false

  setup_all do
    pool = :ends
    start_supervised!({ErlangPython.Pool, options(pool)})
    %{pool: pool}
  end

  defp options(pool) do
    [
      name: pool,
      workers: 2,
      python: ErlangPython.TestPython.executable(),
      stdout: :ignore,
      grace: 300,
      max_message_size: 1_000_000
    ]
  end

  # Long enough that no busy machine reaches it, and shorter than what Python was asked to do.
  @soon 10_000

  # Milliseconds until the caller has its error, whatever Python does: from the deadline on, or from a death or failure.
  defp limit(%{kind: :timeout}, timeout), do: timeout + 500
  defp limit(_failure, _timeout), do: 1_000

  @gil """
  import re
  re.match(r"(a+)+$", "a" * 64 + "b")
  """

  # name, code, timeout, the error's expected fields
  @rows [
    {"segmentation fault", "import ctypes; ctypes.string_at(0)", @soon,
     %{kind: :worker_exit, executed: :maybe, details: %{signal: 11}}},
    {"abort", "import os; os.abort()", @soon, %{kind: :worker_exit, details: %{signal: 6}}},
    {"os._exit", "import os; os._exit(3)", @soon, %{kind: :worker_exit, details: %{status: 3}}},
    {"os._exit(0)", "import os; os._exit(0)", @soon,
     %{kind: :worker_exit, details: %{status: 0}}},
    {"kill -9", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", @soon,
     %{kind: :worker_exit, details: %{signal: 9}}},
    {"sys.exit", "import sys; sys.exit(4)", @soon,
     %{kind: :python, type: "SystemExit", message: "4"}},
    {"KeyboardInterrupt", "raise KeyboardInterrupt", @soon,
     %{kind: :python, type: "KeyboardInterrupt"}},
    {"sleep", "import time; time.sleep(60)", 200, %{kind: :timeout, executed: :maybe}},
    {"endless loop", "while True: pass", 200, %{kind: :timeout, executed: :maybe}},
    {"endless loop with a broad except",
     "while True:\n try:\n  while True: pass\n except BaseException: pass", 200,
     %{kind: :timeout}},
    {"except Exception does not eat the interrupt",
     "import time\ntry:\n time.sleep(60)\nexcept Exception: pass", 200, %{kind: :timeout}},
    {"a finally that blocks", "import time\ntry:\n time.sleep(60)\nfinally:\n time.sleep(60)",
     200, %{kind: :timeout}},
    {"C code that holds the GIL", @gil, 200, %{kind: :timeout, executed: :maybe}},
    {"a lock that is never free",
     "import threading; l = threading.Lock(); l.acquire(); l.acquire()", 200, %{kind: :timeout}},
    {"a subprocess that does not end", "import subprocess; subprocess.run(['sleep', '60'])", 200,
     %{kind: :timeout}},
    {"a result that can't be encoded", "{'a': [1, object()]}", @soon,
     %{kind: :encode, executed: :yes, details: %{path: ~s(result["a"][1])}}},
    {"a result that can't be pickled either", "lambda: 1", @soon, %{kind: :encode}},
    {"a result over the limit", "b'x' * 2_000_000", @soon,
     %{kind: :too_large, executed: :yes, details: %{limit: 1_000_000}}},
    {"recursion without end", "(lambda f: f(f))(lambda f: f(f))", @soon,
     %{kind: :python, type: "RecursionError"}},
    {"a MemoryError", "bytearray(1 << 62)", @soon, %{kind: :python, type: "MemoryError"}},
    {"a syntax error", "def (", @soon, %{kind: :python, type: "SyntaxError"}}
  ]

  defp assert_like(error, expected) do
    {details, fields} = Map.pop(expected, :details, %{})
    assert Map.take(error, Map.keys(fields)) == fields
    assert Map.take(error.details, Map.keys(details)) == details
  end

  for {name, code, timeout, expected} <- @rows do
    test name, %{pool: pool} do
      expected = unquote(Macro.escape(expected))

      assert_within(limit(expected, unquote(timeout)), fn ->
        {ms, result} =
          milliseconds(fn ->
            ErlangPython.run(unquote(code), %{}, pool: pool, timeout: unquote(timeout))
          end)

        assert {:error, %Error{} = error} = result
        assert_like(error, expected)
        assert {:ok, 4.0} = ErlangPython.call(:math, :sqrt, [16], pool: pool)
        await_whole(pool, 2)
        assert {:messages, []} = Process.info(self(), :messages)
        ms
      end)
    end
  end

  # name, code whose value is the result
  @harmless [
    {"rubbish on stdout and stderr",
     "import os; os.write(1, bytes(range(256)) * 100); os.write(2, b'\\xff' * 1000); print('x' * 100_000); 1"},
    {"fork", "import os\npid = os.fork()\nif pid == 0: os._exit(0)\nos.waitpid(pid, 0)[1] + 1"},
    {"a forked child that ends by an exception",
     "import os, sys\npid = os.fork()\nif pid == 0: sys.exit(0)\nos.waitpid(pid, 0)[1] + 1"},
    {"subprocess.run", "import subprocess\nsubprocess.run(['true']).returncode + 1"},
    {"subprocess with output",
     "import subprocess, sys\nint(subprocess.check_output([sys.executable, '-c', 'print(1)']))"},
    {"multiprocessing by fork",
     "import multiprocessing as m\nwith m.get_context('fork').Pool(2) as p: r = p.map(abs, [-1, 0])\nsum(r)"},
    {"multiprocessing by spawn",
     "import multiprocessing as m\nwith m.get_context('spawn').Pool(2) as p: r = p.map(abs, [-1, 0])\nsum(r)"},
    {"a thread left running",
     "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n1"},
    {"stdin is not there to be read", "try:\n input()\nexcept Exception as e:\n r = 1\nr"}
  ]

  for {name, code} <- @harmless do
    test "harmless: #{name}", %{pool: pool} do
      assert {:ok, 1} = ErlangPython.run(unquote(code), %{}, pool: pool)
      await_whole(pool, 2)
    end
  end

  test "a third call after a timeout is as the first", %{pool: pool} do
    first = ErlangPython.eval("[1, 'a']", %{}, pool: pool)

    assert {:error, %Error{kind: :timeout}} =
             ErlangPython.eval("__import__('time').sleep(60)", %{}, pool: pool, timeout: 50)

    assert ErlangPython.eval("[1, 'a']", %{}, pool: pool) == first
    assert ErlangPython.eval("[1, 'a']", %{}, pool: pool) == first
    assert {:messages, []} = Process.info(self(), :messages)
  end

  test "a caller that is killed frees its worker", %{pool: pool} do
    caller =
      spawn(fn ->
        ErlangPython.eval("__import__('time').sleep(600)", %{}, pool: pool, timeout: :infinity)
      end)

    eventually(fn -> assert %{busy: 1} = Pool.stats(pool) end)
    Process.exit(caller, :kill)
    await_whole(pool, 2)
  end

  test "shutting a task down stops Python", %{pool: pool} do
    task = ErlangPython.async(:time, :sleep, [600], pool: pool, timeout: :infinity)
    eventually(fn -> assert %{busy: 1} = Pool.stats(pool) end)
    Task.shutdown(task)
    await_whole(pool, 2)
  end

  test "kill -9 of a worker from outside, idle and busy", %{pool: pool} do
    await_whole(pool, 2)
    [%{os_pid: idle}, %{os_pid: other}] = Pool.workers(pool)
    System.cmd("kill", ["-9", "#{idle}", "#{other}"])
    eventually(fn -> refute os_process?(idle) end)

    eventually(fn ->
      pids = for %{os_pid: pid} when pid != nil <- Pool.workers(pool), do: pid
      assert length(pids) == 2 and idle not in pids and other not in pids
    end)

    await_whole(pool, 2)

    assert_within(1_000, fn ->
      caller =
        Task.async(fn -> ErlangPython.eval("__import__('time').sleep(600)", %{}, pool: pool) end)

      eventually(fn -> assert %{busy: 1} = Pool.stats(pool) end)
      %{os_pid: busy} = Enum.find(Pool.workers(pool), &(&1.state == :busy))
      System.cmd("kill", ["-9", "#{busy}"])
      {ms, result} = milliseconds(fn -> Task.await(caller, @soon) end)
      assert {:error, %Error{kind: :worker_exit, details: %{signal: 9}}} = result
      await_whole(pool, 2)
      ms
    end)
  end
end
