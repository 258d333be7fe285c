defmodule ErlangPython.BeamDeathTest do
  # However the BEAM ends, and whatever its workers are doing: a second later no Python process is left, nor any that
  # Python started. Each row starts a BEAM of its own.
  use ExUnit.Case, async: true

  import ErlangPython.PoolCase, only: [assert_within: 2, eventually: 1, milliseconds: 1]

  alias ErlangPython.TestPython

  @moduletag :tmp_dir
  # What the worker of each pool does when the BEAM ends. `mark(pid)` notes a process that must not survive.
  @python """
  import os, signal, subprocess, sys, time, threading
  def mark(pid=None):
      with open(os.path.join(folder, str(pid or os.getpid())), "w"): pass
  mark()
  """

  @activities [
    {"idle", "pass"},
    {"sleeping", "time.sleep(600)"},
    {"spinning", "while True: pass"},
    {"holding the GIL in C", "import re; re.match(r'(a+)+$', 'a' * 64 + 'b')"},
    {"in a C call that keeps the GIL", "import ctypes; ctypes.PyDLL(None).sleep(600)"},
    {"waiting for a subprocess", "p = subprocess.Popen(['sleep', '600']); mark(p.pid); p.wait()"},
    {"waiting for a forked child that spins",
     "pid = os.fork()\nif pid == 0:\n while True: pass\nmark(pid)\nos.waitpid(pid, 0)"},
    {"in a forked child's child",
     "pid = os.fork()\nif pid == 0:\n if os.fork() == 0: mark()\n time.sleep(600)\nmark(pid)\nos.waitpid(pid, 0)"},
    {"in a loop that eats every exception",
     "while True:\n try:\n  while True: time.sleep(600)\n except BaseException: pass"},
    {"in a finally that waits", "try:\n time.sleep(600)\nfinally:\n time.sleep(600)"},
    {"with signals ignored",
     "for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(s, signal.SIG_IGN)\ntime.sleep(600)"},
    {"with SIGIO ignored, spinning",
     "signal.signal(signal.SIGIO, signal.SIG_IGN)\nwhile True:\n try:\n  while True: pass\n except BaseException: pass"},
    {"with an atexit handler that waits", "import atexit; atexit.register(time.sleep, 600)"},
    {"with a thread that waits", "threading.Thread(target=time.sleep, args=(600,)).start()"},
    {"with multiprocessing's children",
     "import multiprocessing as m\nc = m.get_context('fork')\nps = [c.Process(target=time.sleep, args=(600,)) for _ in range(2)]\n[p.start() for p in ps]\n[mark(p.pid) for p in ps]\n[p.join() for p in ps]"},
    {"stopped", "os.kill(os.getpid(), signal.SIGSTOP)"}
  ]

  # Of those above, marked too.
  @children 6

  @ends [
    {"kill -9", ~S|System.cmd("kill", ["-9", System.pid()])|},
    {"kill -TERM", ~S|System.cmd("kill", ["-TERM", System.pid()]); Process.sleep(:infinity)|},
    {"abort", "System.halt(:abort)"},
    {"System.halt", "System.halt(0)"},
    {"System.stop", "System.stop(0); Process.sleep(:infinity)"}
  ]

  for {end_name, how} <- @ends do
    test "#{end_name}", %{tmp_dir: dir} do
      assert_within(1_000, fn ->
        folder = empty_folder(dir)
        beam = start_beam(dir, folder, @activities)
        await(beam, "up")
        python = File.ls!(folder)
        assert length(python) == length(@activities) + @children
        assert Enum.sort(living(python)) == Enum.sort(python)

        Port.command(beam, unquote(how) <> "\n")
        until_gone(beam, python)
      end)
    end
  end

  test "a BEAM that is killed while a worker starts", %{tmp_dir: dir} do
    assert_within(1_000, fn ->
      folder = empty_folder(dir)
      beam = start_beam(dir, folder, [{"starting", :preload}])
      eventually(fn -> assert [_one] = File.ls!(folder) end)
      {:os_pid, os_pid} = Port.info(beam, :os_pid)
      System.cmd("kill", ["-9", "#{os_pid}"])
      until_gone(beam, File.ls!(folder))
    end)
  end

  test "what a killed BEAM leaves of files is swept by the next pool", %{tmp_dir: dir} do
    folder = empty_folder(dir)
    first = start_beam(dir, folder, [{"idle", "pass"}])
    await(first, "up")
    {:os_pid, os_pid} = Port.info(first, :os_pid)
    socket_folders = fn -> Path.wildcard("#{dir}/tmp/erlang_python.#{os_pid}.*") end
    assert [_one] = socket_folders.()
    System.cmd("kill", ["-9", "#{os_pid}"])
    assert_receive {^first, {:exit_status, _status}}, 60_000

    second = start_beam(dir, folder, [{"idle", "pass"}])
    await(second, "up")
    assert socket_folders.() == []
    Port.command(second, "System.halt(0)\n")
    assert_receive {^second, {:exit_status, 0}}, 60_000
  end

  defp empty_folder(dir) do
    folder = Path.join(dir, "processes")
    File.rm_rf!(folder)
    File.mkdir_p!(folder)
    folder
  end

  # Milliseconds from the end of the BEAM to that of the last of these processes.
  defp until_gone(beam, python) do
    assert_receive {^beam, {:exit_status, _status}}, 60_000
    {ms, _} = milliseconds(fn -> eventually(fn -> assert living(python) == [] end) end)
    ms
  end

  # One look for all: each takes a process.
  defp living(os_pids) do
    {lines, _status} = System.cmd("ps", ["-o", "pid=,stat=", "-p", Enum.join(os_pids, ",")])

    for line <- String.split(lines, "\n", trim: true),
        [os_pid, stat] = String.split(line),
        not String.starts_with?(stat, "Z"),
        do: os_pid
  end

  # A BEAM that starts a pool per activity, says "up" when each worker is at it, and evaluates
  # the line that it is then sent.
  defp start_beam(dir, folder, activities) do
    tmp = Path.join(dir, "tmp") |> tap(&File.mkdir_p!/1)
    script = Path.join(dir, "beam.exs")
    File.write!(script, script(folder, activities))
    paths = Enum.flat_map(:code.get_path(), &["-pa", to_string(&1)])
    erl = System.find_executable("erl")

    Port.open({:spawn_executable, erl}, [
      :binary,
      :exit_status,
      :stderr_to_stdout,
      line: 10_000,
      env: [{~c"TMPDIR", String.to_charlist(short(tmp))}],
      args:
        ["-noshell" | paths] ++
          ["-s", "elixir", "start_cli", "-extra", "--no-halt", script]
    ])
  end

  # A unix socket's path must be short: the next test run may have this name again.
  defp short(folder) do
    link = "/tmp/ep_#{:erlang.phash2(folder)}"
    File.rm(link)
    File.ln_s!(folder, link)
    ExUnit.Callbacks.on_exit(fn -> File.rm(link) end)
    link
  end

  defp script(folder, activities) do
    """
    {:ok, _apps} = Application.ensure_all_started(:erlang_python)
    folder = #{inspect(folder)}
    code = #{inspect(@python)}
    activities = #{inspect(activities, limit: :infinity, printable_limit: :infinity)}

    pools =
      for {{_name, activity}, n} <- Enum.with_index(activities) do
        name = :"pool\#{n}"
        defined = "folder = " <> inspect(folder) <> "\\n" <> code
        preload = if activity == :preload, do: defined <> "time.sleep(600)", else: defined
        options = [name: name, workers: 1, python: #{inspect(TestPython.executable())}, grace: 500,
                   stdout: :ignore, lazy: activity == :preload, preload: [{:code, preload}]]
        {:ok, _pid} = ErlangPython.Pool.start_link(options)
        {name, activity}
      end

    for {name, activity} <- pools, activity != :preload do
      spawn(fn -> ErlangPython.exec("mark('at-' + str(os.getpid()))\\n" <> activity, %{}, pool: name, timeout: :infinity) end)
    end

    children = if length(pools) > 1, do: #{@children}, else: 0

    wait = fn wait ->
      {at, processes} = Enum.split_with(File.ls!(folder), &String.starts_with?(&1, "at-"))
      there? = length(at) >= length(pools) and length(processes) >= length(pools) + children
      if there?, do: Enum.each(at, &File.rm!(Path.join(folder, &1))), else: (Process.sleep(20); wait.(wait))
    end

    wait.(wait)
    IO.puts("up")
    IO.gets("") |> Code.eval_string()
    """
  end

  defp await(beam, line) do
    receive do
      {^beam, {:data, {:eol, ^line}}} -> :ok
      {^beam, {:data, {:eol, other}}} -> IO.puts("the other BEAM: " <> other) && await(beam, line)
      {^beam, {:exit_status, status}} -> flunk("the other BEAM ended with status #{status}")
    after
      60_000 -> flunk("the other BEAM did not come up")
    end
  end
end
