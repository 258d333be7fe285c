defmodule ErlangPython.Env.InterpreterTest do
  # Not async: PATH and PYENV_ROOT belong to the whole node.
  use ExUnit.Case, async: false

  import ErlangPython.PoolCase, only: [eventually: 1, os_process?: 1]

  alias ErlangPython.Env.Interpreter
  alias ErlangPython.{Error, TestPython}

  @moduletag :tmp_dir

  setup %{tmp_dir: dir} do
    dir = Path.expand(dir)
    bin = Path.join(dir, "bin")
    File.mkdir_p!(bin)
    put_env("PYENV_ROOT", Path.join(dir, "pyenv"))
    # The system's folders stay for what scripts need, behind the test's own.
    put_env("PATH", "#{bin}:/usr/bin:/bin")
    %{dir: dir, bin: bin, real: TestPython.executable()}
  end

  describe "find/1 without a choice" do
    test "takes python3 on the PATH", %{bin: bin, real: real} do
      python3 = link(real, Path.join(bin, "python3"))
      link(real, Path.join(bin, "python"))
      assert Interpreter.find([]) == {:ok, python3}
      assert Interpreter.find(python: nil, venv: nil) == {:ok, python3}
    end

    test "takes python if there is no python3", %{bin: bin, real: real} do
      put_env("PATH", bin)
      python = link(real, Path.join(bin, "python"))
      assert Interpreter.find([]) == {:ok, python}
    end

    test "says what was looked for, and where", %{bin: bin} do
      put_env("PATH", bin)
      assert {:error, %Error{kind: :environment, executed: :no} = error} = Interpreter.find([])
      assert error.message =~ "no python3 or python on the PATH (#{bin})"
    end

    test "does not follow VIRTUAL_ENV", %{bin: bin, real: real} do
      put_env("VIRTUAL_ENV", real |> Path.dirname() |> Path.dirname())
      python3 = link(real, Path.join(bin, "python3"))
      assert Interpreter.find([]) == {:ok, python3}
    end
  end

  describe "find/1 with a path" do
    test "takes it as it is, expanded", %{real: real} do
      assert Interpreter.find(python: real) == {:ok, real}
      assert Interpreter.find(python: Path.relative_to_cwd(real)) == {:ok, real}
    end

    test "refuses what is missing or can't be executed", %{dir: dir} do
      missing = Path.join(dir, "missing")
      assert {:error, %Error{details: %{python: ^missing}} = error} = find(missing)
      assert error.message =~ "no such Python: #{missing}. `:python` takes the path"

      assert {:error, error} = find(dir)
      assert error.message =~ "#{dir} is a folder. `:python` takes the path"

      plain = Path.join(dir, "plain")
      File.write!(plain, "")
      assert {:error, error} = find(plain)
      assert error.message == "not an executable file: #{plain}"
      assert {:error, _error} = find(dir)
    end

    test "refuses half a version" do
      assert {:error, error} = find("3")
      assert error.message =~ ~s("3" is no version of Python)
    end
  end

  describe "find/1 with a venv" do
    test "takes its interpreter and not the link's target", %{dir: dir, real: real} do
      venv = Path.join(dir, "venv")
      {_, 0} = System.cmd(real, ["-m", "venv", "--without-pip", venv])
      assert {:ok, python} = Interpreter.find(venv: venv, python: "3.97")
      assert python == Path.join(venv, "bin/python")
      assert {prefix, 0} = System.cmd(python, ["-c", "import sys; print(sys.prefix)"])
      assert String.trim(prefix) == venv
    end

    test "refuses a folder that is none", %{dir: dir} do
      file = Path.join(dir, "python")
      File.write!(file, "")
      assert {:error, error} = Interpreter.find(venv: file)
      assert error.message =~ "is a file. `:python` takes the path of an interpreter"
      assert {:error, error} = Interpreter.find(venv: Path.join(dir, "missing"))
      assert error.message =~ "no such virtual environment"
      assert {:error, error} = Interpreter.find(venv: dir)
      assert error.message =~ "has no pyvenv.cfg"
    end

    test "says what to do when its interpreter is gone", %{dir: dir} do
      File.write!(Path.join(dir, "pyvenv.cfg"), "")
      link("/gone/python", Path.join(dir, "bin/python"))
      assert {:error, error} = Interpreter.find(venv: dir)
      assert error.message =~ "`python3 -m venv --clear #{dir}`"
    end
  end

  describe "find/1 with a version" do
    test "prefers the PATH", %{dir: dir, bin: bin, real: real} do
      python = link(real, Path.join(bin, "python3.97"))
      link(real, Path.join(dir, "pyenv/versions/3.97.1/bin/python"))
      assert find("3.97") == {:ok, python}
    end

    test "takes pyenv's newest", %{dir: dir, real: real} do
      for version <- ["3.97.2", "3.97.10", "3.9.18", "3.97.10-debug"] do
        link(real, Path.join(dir, "pyenv/versions/#{version}/bin/python"))
      end

      assert find("3.97") == {:ok, Path.join(dir, "pyenv/versions/3.97.10/bin/python")}
      assert find("3.97.2") == {:ok, Path.join(dir, "pyenv/versions/3.97.2/bin/python")}
      assert {:error, _error} = find("3.97.3")
    end

    test "passes over a shim whose version is not selected", context do
      script(Path.join(context.bin, "python3.97"), "echo no such version; exit 127")
      path = Path.join(context.dir, "pyenv/versions/3.97.2/bin/python")
      link(context.real, path)
      assert find("3.97") == {:ok, path}
    end

    test "asks uv", %{bin: bin, real: real} do
      put_env("PATH", bin)
      link(Path.join(Path.dirname(real), "uv"), Path.join(bin, "uv"))
      python3 = link(real, Path.join(bin, "python3"))
      {version, 0} = System.cmd(real, ["-c", "import platform; print(platform.python_version())"])
      assert {:ok, found} = find(String.trim(version))
      assert found == python3 or File.exists?(found)
    end

    test "lists the places where there is none", %{dir: dir} do
      assert {:error, error} = find("3.97")
      assert error.message =~ "no Python 3.97: not on the PATH as python3.97"
      assert error.message =~ Path.join(dir, "pyenv/versions")
      assert error.message =~ "`uv python install 3.97`"
    end
  end

  describe "find/1 with a shim" do
    test "asks it once for the interpreter behind it", %{dir: dir, real: real} do
      log = Path.join(dir, "log")
      shim = script(Path.join(dir, "shim"), ~s(echo started >> #{log}\nexec #{real} "$@"))
      assert find(shim) == {:ok, real}
      assert find(shim) == {:ok, real}
      assert File.read!(log) == "started\n"
    end

    test "asks again when that interpreter is gone", %{dir: dir, real: real} do
      old = link(real, Path.join(dir, "old/python3"))
      shim = script(Path.join(dir, "shim"), ~s(exec #{real} "$@"))
      :persistent_term.put({Interpreter, shim}, old)
      assert find(shim) == {:ok, old}
      File.rm!(old)
      assert find(shim) == {:ok, real}
    end

    test "gives up one that says nothing", %{dir: dir} do
      shim = script(Path.join(dir, "hangs"), "echo $$; exec sleep 3600")
      assert {:error, %Error{kind: :environment} = error} = Interpreter.ask(shim, 1_000)
      assert error.message =~ "did not say within 1000 ms which"
      assert [os_pid] = error.details.output
      eventually(fn -> refute os_process?(os_pid) end)
    end

    test "shows what a broken one says", %{dir: dir} do
      shim = script(Path.join(dir, "broken"), "echo python: command not found >&2; exit 127")
      assert {:error, %Error{details: details} = error} = find(shim)
      assert error.message == "#{shim} does not start a Python: python: command not found"
      assert details == %{python: shim, output: ["python: command not found"]}
    end
  end

  defp find(python), do: Interpreter.find(python: python)

  defp link(target, path) do
    File.mkdir_p!(Path.dirname(path))
    File.ln_s!(target, path)
    path
  end

  defp script(path, body) do
    File.write!(path, "#!/bin/sh\n#{body}\n")
    File.chmod!(path, 0o755)
    path
  end

  defp put_env(name, value) do
    before = System.get_env(name)
    System.put_env(name, value)

    on_exit(fn ->
      if before, do: System.put_env(name, before), else: System.delete_env(name)
    end)
  end
end
