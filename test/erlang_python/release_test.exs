defmodule ErlangPython.ReleaseTest do
  # The Dockerfile of examples/docker, whose commands are run in a fresh folder, and the release that they make: without
  # a network, without a home folder, and with nothing that it writes but in /tmp.
  use ExUnit.Case, async: true

  import ErlangPython.PoolCase, only: [eventually: 1, os_process?: 1]

  alias ErlangPython.{Dockerfile, NoNetwork, TestPython}

  @root Path.expand("../..", __DIR__)

  setup_all do
    folder = Path.join(System.tmp_dir!(), "erlang_python-release-#{System.pid()}")
    File.mkdir_p!(folder)
    on_exit(fn -> {_, 0} = System.cmd("rm", ["-rf", folder]) end)
    mix_settings = for {"MIX_" <> _rest = name, _value} <- System.get_env(), do: {name, nil}

    # What was fetched is kept.
    env = %{
      "ERLANG_PYTHON_RUNTIME_DIR" => Path.join(@root, ".cache/release-runtime"),
      "PATH" => path()
    }

    image =
      Dockerfile.build(Path.join(@root, "examples/docker/Dockerfile"),
        context: @root,
        root: folder,
        env: Map.merge(Map.new(mix_settings), env)
      )

    # Nothing of the stage before is in the image.
    {_, 0} =
      System.cmd("rm", ["-rf", Path.join(folder, "build"), Path.join(folder, "erlang_python")])

    no_home = Path.join(folder, "no-home")
    File.write!(no_home, "a file, in which nobody can make a folder")
    %{folder: folder, image: image, no_home: no_home}
  end

  @system "/usr/bin:/bin"

  # As in the image, where Elixir is the system's and that has a Python with which the image could be made.
  defp path do
    python = """
    import sys
    assert sys.version_info >= (3, 9)
    try: import pip
    except ImportError: import ensurepip
    """

    with true <- Enum.all?(~w(elixir erl mix), &(System.find_executable(&1) == "/usr/bin/#{&1}")),
         true <- File.exists?("/usr/bin/python3"),
         {_, 0} <- System.cmd("/usr/bin/python3", ["-c", python], stderr_to_stdout: true) do
      @system
    else
      # uv is there.
      _ -> Path.dirname(TestPython.executable()) <> ":" <> System.get_env("PATH")
    end
  end

  test "starts several nodes without a network, and writes nothing", context do
    %{folder: folder, image: image} = context
    assert image.user == "nobody"
    shop = Path.join(folder, "shop")
    stamp = Path.join(folder, "stamp")
    {_, 0} = System.cmd("touch", [stamp])

    nodes = for _ <- 1..2, do: start(image, context)

    for node <- nodes do
      assert_receive {^node, {:data, {:eol, "Python 3." <> said}}}, 60_000
      assert said =~ "six in #{shop}/lib/erlang_python-"
    end

    assert {"", 0} = System.cmd("find", [shop, "-newer", stamp])

    # One ends, the other goes on, and each ends its Python.
    for node <- nodes do
      {:os_pid, os_pid} = Port.info(node, :os_pid)
      pythons = children(os_pid)
      assert pythons != []
      {_, 0} = System.cmd("kill", ["-TERM", "#{os_pid}"])
      assert_receive {^node, {:exit_status, 0}}, 60_000
      for python <- pythons, do: eventually(fn -> refute os_process?(python) end)
    end
  end

  test "has Python's compiled code by content, so that it may be copied in any way", context do
    compiled = Path.wildcard(Path.join(context.folder, "shop/lib/*/priv/shipped/**/*.pyc"))
    assert Enum.any?(compiled, &(&1 =~ "/six."))
    assert Enum.any?(compiled, &(&1 =~ "/zmq/"))

    # PEP 552: the second word says how the file is told to be up to date; 1 is by its content, unchecked.
    for file <- compiled do
      <<_magic::binary-4, kind::little-32, _::binary>> = File.read!(file)
      assert {file, kind} == {file, 1}
    end
  end

  test "says what is missing where the interpreter is another", context do
    %{folder: folder, image: image} = context
    [python] = Path.wildcard(Path.join(folder, "shop/lib/*/priv/shipped/envs/*/bin/python"))
    target = File.read_link!(python)
    on_exit(fn -> relink!(target, python) end)
    relink!("/no/such/python", python)

    code =
      "{:ok, _} = Application.ensure_all_started(:erlang_python); " <>
        "{:error, error} = ErlangPython.eval(\"1\"); IO.puts(Exception.message(error))"

    [bin, "start"] = image.cmd

    {output, 0} =
      System.cmd("env", words(image, context) ++ [bin, "eval", code], stderr_to_stdout: true)

    assert output =~
             "the release's environment #{Path.dirname(Path.dirname(python))} was made for"

    assert output =~ "install that Python"
  end

  defp relink!(target, link) do
    File.rm!(link)
    File.ln_s!(target, link)
  end

  defp start(image, context) do
    node =
      Port.open({:spawn_executable, System.find_executable("env")}, [
        :binary,
        :exit_status,
        :stderr_to_stdout,
        line: 10_000,
        cd: context.folder,
        args: words(image, context) ++ image.cmd
      ])

    {:os_pid, os_pid} = Port.info(node, :os_pid)
    on_exit(fn -> if os_process?(os_pid), do: System.cmd("kill", ["-9", "#{os_pid}"]) end)
    node
  end

  # Nothing but what the image sets, and a network that leads nowhere.
  defp words(image, %{no_home: no_home}) do
    variables =
      [{"PATH", @system}, {"HOME", no_home}] ++
        NoNetwork.variables() ++ Map.to_list(image.env)

    ["-i" | Enum.map(variables, fn {name, value} -> "#{name}=#{value}" end)]
  end

  defp children(os_pid) do
    {listing, 0} = System.cmd("ps", ["-e", "-o", "pid=,ppid=,args="])

    processes =
      for line <- String.split(listing, "\n", trim: true),
          do: String.split(line, " ", parts: 3, trim: true)

    below(["#{os_pid}"], processes)
    |> Enum.filter(fn [_pid, _parent, args] -> args =~ "bootstrap.py" end)
    |> Enum.map(&hd/1)
  end

  defp below([], _processes), do: []

  defp below(parents, processes) do
    found = Enum.filter(processes, fn [_pid, parent | _] -> parent in parents end)
    found ++ below(Enum.map(found, &hd/1), processes)
  end
end
