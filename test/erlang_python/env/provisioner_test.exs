defmodule ErlangPython.Env.ProvisionerTest do
  # Not async: the application's environment belongs to the whole node.
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog

  alias ErlangPython.Env.{Paths, Provisioner, Runtime}
  alias ErlangPython.{Error, TestPython}

  @moduletag :tmp_dir

  setup_all do
    python = TestPython.executable()
    code = "from erlang_python_worker.runtime import abi_tag; print(abi_tag())"
    {tag, 0} = System.cmd(python, ["-c", code], env: [{"PYTHONPATH", Paths.python_code()}])
    tag = String.trim(tag)
    %{python: python, tag: tag, wheels: download_wheels(python, tag)}
  end

  setup context do
    server = Module.concat(__MODULE__, context.test)
    start_supervised!({Provisioner, name: server})

    root = Path.expand(context.tmp_dir)
    %{server: server, root: root, job: Runtime.job(context.python, root, context.wheels)}
  end

  test "installs once for all who ask at once, and logs it", context do
    %{server: server, job: job, python: python} = context

    log =
      capture_log(fn ->
        asked = for _ <- 1..8, do: Task.async(fn -> Provisioner.run(server, job, nil) end)
        assert Task.await_many(asked, :infinity) == List.duplicate({:ok, []}, 8)
      end)

    folder = Path.join(context.root, context.tag)
    assert [_before, _after] = String.split(log, "installing pyzmq and msgpack into #{folder}")

    check =
      "import sys; sys.path.insert(0, sys.argv[1]); import zmq, msgpack; print(zmq.__file__)"

    assert {path, 0} = System.cmd(python, ["-c", check, folder])
    assert String.starts_with?(path, folder)

    assert capture_log(fn -> assert Provisioner.run(server, job, nil) == {:ok, []} end) == ""
  end

  test "takes folder and wheels from the configuration", context do
    %{root: root, tag: tag} = context

    on_exit(fn ->
      for key <- [:runtime_dir, :wheels], do: Application.delete_env(:erlang_python, key)
    end)

    Application.put_env(:erlang_python, :runtime_dir, root)
    Application.put_env(:erlang_python, :wheels, context.wheels)
    if !Process.whereis(Provisioner), do: start_supervised!(Provisioner, id: Provisioner.Default)

    assert capture_log(fn -> assert Runtime.provision(context.python) == :ok end) =~ "installing"
    assert File.dir?(Path.join([root, Path.basename(Runtime.root()), tag, "zmq"]))
  end

  test "answers with the reason when it can't", %{server: server, python: python, root: root} do
    empty = Path.join(root, "no-wheels")
    File.mkdir!(empty)

    capture_log(fn ->
      assert {:error, %Error{kind: :environment, executed: :no} = error} =
               Provisioner.run(server, Runtime.job(python, root, empty), nil)

      assert error.message =~ "cannot install pyzmq and msgpack for #{python} into"
      assert error.message =~ "to try by hand: #{python} "
      assert %{python: ^python, output: output} = error.details
      assert Enum.join(output, "\n") =~ "No matching distribution found"
    end)
  end

  test "tells a function each step, once for all who ask", %{server: server, job: job} do
    test = self()

    log =
      capture_log(fn ->
        assert {:ok, []} = Provisioner.run(server, job, &send(test, {:step, &1, self()}))
      end)

    assert log == ""
    assert_received {:step, "installing pyzmq and msgpack into " <> _folder, ^test}
  end

  test "survives what is no Python", %{server: server, root: root} do
    assert {:error, error} = Provisioner.run(server, Runtime.job("/no/python", root, nil), nil)
    assert error.message == "cannot start /no/python: :enoent"

    false_path = System.find_executable("false")
    assert {:error, error} = Provisioner.run(server, Runtime.job(false_path, root, nil), nil)
    assert error.message =~ "#{false_path} ended with status 1"
    assert error.details.python == false_path
  end

  # Kept between runs, so that the tests need the network once, and shared with the Python
  # tests (python_tests/test_provision.py), which need the same files.
  defp download_wheels(python, tag) do
    name = "#{Path.basename(Runtime.root())}-#{tag}"
    folder = Path.expand("../../../.cache/wheels/#{name}", __DIR__)

    if not File.dir?(folder) do
      fresh = "#{folder}-#{System.pid()}"
      pip = ~w(-m pip download --quiet --require-hashes --no-deps --only-binary :all: --dest)
      {_, 0} = System.cmd(python, pip ++ [fresh, "-r", Paths.lock()])
      File.rename!(fresh, folder)
    end

    folder
  end
end
