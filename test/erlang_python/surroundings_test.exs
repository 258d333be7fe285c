defmodule ErlangPython.SurroundingsTest do
  # BEAMs whose surroundings lack something. Each test starts one of its own.
  use ExUnit.Case, async: true

  alias ErlangPython.TestPython

  @moduletag :tmp_dir

  test "out of descriptors, workers that must be killed end alone" do
    said =
      assert_beam(
        """
        for {application, _, _} <- Application.loaded_applications(),
            module <- Application.spec(application, :modules) || [],
            do: Code.ensure_loaded(module)

        {:ok, supervisor} = Supervisor.start_link([pool.(workers: 2, grace: 50)], strategy: :one_for_one)
        holds_gil = "import re\\nre.match(r'(a+)+$', 'a' * 64 + 'b')"
        {:error, %{kind: :timeout}} = ErlangPython.exec(holds_gil, %{}, pool: :p, timeout: 50)
        until.(fn -> match?(%{workers: 2, idle: 2}, Pool.stats(:p)) end)
        sleeps = "import time\\ntime.sleep(3600)"
        other = Task.async(fn -> ErlangPython.exec(sleeps, %{}, pool: :p, timeout: :infinity) end)
        until.(fn -> Pool.stats(:p).busy == 1 end)

        Stream.repeatedly(fn -> :file.open(~c"/dev/null", [:read, :raw]) end)
        |> Enum.take_while(&match?({:ok, _device}, &1))
        |> then(&Process.put(:descriptors, &1))

        {:error, %{kind: :timeout}} = ErlangPython.exec(holds_gil, %{}, pool: :p, timeout: 50)
        until.(fn -> match?(%{in_flight: 1}, Pool.stats(:p)) end)
        for {:ok, device} <- Process.get(:descriptors), do: :file.close(device)
        until.(fn -> match?(%{workers: 2, idle: 1, busy: 1}, Pool.stats(:p)) end)
        {:ok, 4.0} = ErlangPython.call(:math, :sqrt, [16], pool: :p)
        nil = Task.yield(other, 0)
        true = Process.alive?(supervisor)
        """,
        limits: "ulimit -n 256; "
      )

    assert said =~ ~r/can.t signal the OS process \d+ now/
    refute said =~ "terminating"
  end

  test "without a UTF-8 locale, variables and paths arrive as they are", %{tmp_dir: dir} do
    application = Path.join(dir, "ü☃/erlang_python")
    File.mkdir_p!(application)
    ebin = Application.app_dir(:erlang_python, "ebin")
    for part <- ["ebin", "priv"], do: link_to(Path.join(Path.dirname(ebin), part), application)

    assert_beam(
      """
      :latin1 = :file.native_name_encoding()
      here = System.get_env("HERE") |> String.to_charlist() |> :binary.list_to_bin()
      text = <<"Z", 195, 188, "rich ", 226, 152, 131>>
      {:ok, _pool} = Supervisor.start_link([pool.(workers: 1, cd: here, env: %{"CITY" => text})], strategy: :one_for_one)
      {:ok, [^text, ^here]} = ErlangPython.run("import os\\n[os.environ['CITY'], os.getcwd()]", %{}, pool: :p)
      """,
      env: [{"LC_ALL", "C"}, {"LANG", "C"}, {"HERE", Path.expand(application)}],
      ebin: Path.join(application, "ebin")
    )
  end

  test "without the application, which has stopped, callers of a pool that is left get errors" do
    said =
      assert_beam("""
      {:ok, _supervisor} = Supervisor.start_link([pool.(workers: 1, grace: 50)], strategy: :one_for_one)
      Process.flag(:trap_exit, true)
      test = self()
      ErlangPython.register("wait", fn -> send(test, self()) && receive(do: (:go -> nil)) end)
      options = [pool: :p, timeout: :infinity]

      # Of a thread that was left behind: for a request's own the others would not wait in the queue.
      call = "import erlang, threading\nthreading.Thread(target=erlang.call, args=('wait',), daemon=True).start()"
      :ok = ErlangPython.exec(call, %{}, options)
      callback = receive do: (pid when is_pid(pid) -> pid)

      requests =
        for code <- ["threading.Event().wait()", "1", "2"],
            do: Task.async(fn -> ErlangPython.exec(code, %{}, options) end)

      until.(fn -> match?(%{queued: 2}, Pool.stats(:p)) end)
      :ok = Application.stop(:erlang_python)
      # Longer than a caller waits until it looks whether it waits in vain.
      nil = Task.yield(List.last(requests), 300)
      send(callback, :go)

      # Which, depends on what of it is still there.
      for result <- Task.await_many(requests, 60_000), do: {:error, %ErlangPython.Error{}} = result
      {:error, %ErlangPython.Error{}} = ErlangPython.eval("1", %{}, options)
      """)

    refute said =~ "a ZMTP connection crashed"
  end

  test "without a folder for sockets, no pool starts, and the error says why" do
    assert_beam(
      """
      Process.flag(:trap_exit, true)
      {Pool, options} = pool.(workers: 1)
      Application.put_env(:erlang_python, :pools, [[name: :default, workers: 1]])

      for {:error, error} <- [Pool.start_link(options), ErlangPython.eval("1")] do
        %ErlangPython.Error{kind: :environment, executed: :no} = error
        true = error.message =~ "cannot make the directory /proc/erlang_python"
      end
      """,
      env: [{"TMPDIR", "/proc"}]
    )
  end

  defp link_to(target, folder), do: File.ln_s!(target, Path.join(folder, Path.basename(target)))

  # A BEAM in which this code runs to its end.
  defp assert_beam(code, options \\ []) do
    ebin = options[:ebin] || Application.app_dir(:erlang_python, "ebin")
    options = Keyword.put_new(options, :env, [])

    program = """
    alias ErlangPython.Pool
    {:ok, _started} = Application.ensure_all_started(:erlang_python)
    pool = &{Pool, [name: :p, python: #{inspect(TestPython.executable())}, stdout: :ignore] ++ &1}
    until = fn condition ->
      Enum.find(1..3_000, fn _try -> condition.() || Process.sleep(10) == false end) || raise "it never is"
    end
    #{code}
    System.halt(42)
    """

    elixir = "#{options[:limits]}exec elixir -pa \"$EBIN\" -e \"$PROGRAM\""
    env = [{"EBIN", ebin}, {"PROGRAM", program} | options[:env]]
    {said, status} = System.cmd("sh", ["-c", elixir], env: env, stderr_to_stdout: true)
    assert status == 42, said
    said
  end
end
