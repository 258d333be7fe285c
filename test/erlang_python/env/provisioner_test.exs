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

    job = %{
      python: context.python,
      runtime: Path.expand(context.tmp_dir),
      lock: Paths.lock(),
      wheels: context.wheels
    }

    %{server: server, job: job}
  end

  test "installs once for all who ask at once, and logs it", context do
    %{server: server, job: job} = context

    log =
      capture_log(fn ->
        asked = for _ <- 1..8, do: Task.async(fn -> Provisioner.provision(server, job) end)
        assert Task.await_many(asked, :infinity) == List.duplicate(:ok, 8)
      end)

    folder = Path.join(job.runtime, context.tag)
    assert [_before, _after] = String.split(log, "installing pyzmq and msgpack into #{folder}")

    check =
      "import sys; sys.path.insert(0, sys.argv[1]); import zmq, msgpack; print(zmq.__file__)"

    assert {path, 0} = System.cmd(job.python, ["-c", check, folder])
    assert String.starts_with?(path, folder)

    assert capture_log(fn -> assert Provisioner.provision(server, job) == :ok end) == ""
  end

  test "takes folder and wheels from the configuration", %{job: job, tag: tag} do
    on_exit(fn ->
      for key <- [:runtime_dir, :wheels], do: Application.delete_env(:erlang_python, key)
    end)

    Application.put_env(:erlang_python, :runtime_dir, job.runtime)
    Application.put_env(:erlang_python, :wheels, job.wheels)
    if !Process.whereis(Provisioner), do: start_supervised!(Provisioner, id: Provisioner.Default)

    assert capture_log(fn -> assert Runtime.provision(job.python) == :ok end) =~ "installing"
    assert File.dir?(Path.join([job.runtime, Path.basename(Runtime.root()), tag, "zmq"]))
  end

  test "answers with the reason when it can't", %{server: server, job: job, tmp_dir: dir} do
    empty = Path.join(Path.expand(dir), "no-wheels")
    File.mkdir!(empty)

    capture_log(fn ->
      assert {:error, %Error{kind: :environment, executed: :no} = error} =
               Provisioner.provision(server, %{job | wheels: empty})

      assert error.message =~ "cannot install pyzmq and msgpack for #{job.python} into"
      assert error.message =~ "to try by hand: #{job.python} "
      assert %{python: python, output: output} = error.details
      assert python == job.python
      assert Enum.join(output, "\n") =~ "No matching distribution found"
    end)
  end

  test "survives what is no Python", %{server: server, job: job} do
    assert {:error, error} = Provisioner.provision(server, %{job | python: "/no/python"})
    assert error.message == "cannot start /no/python: :enoent"

    false_path = System.find_executable("false")
    assert {:error, error} = Provisioner.provision(server, %{job | python: false_path})
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
