defmodule ErlangPython.Env.Interpreter do
  @moduledoc false
  # From what the user wrote (`:python`, `:venv`) to the executable that is started.
  # An environment variable such as VIRTUAL_ENV is not looked at: which Python runs must
  # not depend on the shell that started the BEAM, beyond its PATH.

  alias ErlangPython.Env.Problem
  alias ErlangPython.Error
  alias ErlangPython.Worker.OSProcess

  # A shim of pyenv or asdf may read many files on a cold and busy disk.
  @ask_ms 30_000

  @default_names ["python3", "python"]
  @takes "`:python` takes the path of an interpreter, its name on the PATH, a version such as \"3.12\", or an " <>
           "environment of `ErlangPython.Env`; `:venv` takes the folder of a virtual environment"
  @homebrew ["/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"]

  @doc """
  Finds the interpreter.

    * `:venv` - a folder made by `venv`, `virtualenv`, `uv venv` or `conda`. Wins over `:python`.
    * `:python` - a path, a version (`"3.12"`, `"3.12.1"`) or a name on the PATH (`"pypy3"`).
      The default is `python3`, then `python`, on the PATH.
  """
  @spec find(python: String.t() | nil, venv: Path.t() | nil) ::
          {:ok, Path.t()} | {:error, Error.t()}
  def find(opts) do
    case {opts[:venv], opts[:python]} do
      {nil, nil} -> on_path(@default_names)
      {nil, python} -> python(python)
      {venv, _python} -> venv(Path.expand(venv))
    end
  end

  defp venv(folder) do
    executable = Path.join(folder, "bin/python")

    cond do
      File.regular?(folder) ->
        Problem.error("#{folder} is a file. #{@takes}", nil)

      not File.dir?(folder) ->
        Problem.error(
          "no such virtual environment: #{folder} (`python3 -m venv #{folder}` makes one)",
          nil
        )

      not Enum.any?(["pyvenv.cfg", "conda-meta"], &File.exists?(Path.join(folder, &1))) ->
        Problem.error("#{folder} is no virtual environment: it has no pyvenv.cfg", nil)

      true ->
        with {:error, _error} <- usable(executable) do
          Problem.error(
            "the virtual environment #{folder} has no working bin/python: " <>
              "make it anew with `python3 -m venv --clear #{folder}`",
            executable
          )
        end
    end
  end

  defp python(python) do
    cond do
      String.contains?(python, "/") -> python |> Path.expand() |> usable()
      python =~ ~r/^\d+\.\d+(\.\d+)?$/ -> version(python)
      python =~ ~r/^\d/ -> no_such_version(python)
      true -> on_path([python])
    end
  end

  defp no_such_version(python) do
    Problem.error(
      "#{inspect(python)} is no version of Python: give two numbers or three, as in \"3.12\" or \"3.12.1\"",
      nil
    )
  end

  defp on_path(names) do
    case Enum.find_value(names, &System.find_executable/1) do
      nil ->
        Problem.error(
          "no #{Enum.join(names, " or ")} on the PATH (#{System.get_env("PATH")}): " <>
            "install Python 3.9 or newer, or give `:python` a path or `:venv` a folder",
          nil
        )

      found ->
        found |> Path.expand() |> usable()
    end
  end

  # A shim that stands on the PATH for a version that is not selected fails when it is
  # asked, so the search goes on to the next place.
  defp version(version) do
    places = [&version_on_path/1, &version_in_pyenv/1, &version_in_homebrew/1, &version_by_uv/1]

    found =
      Enum.find_value(places, fn place ->
        with path when is_binary(path) <- place.(version),
             {:ok, path} <- usable(path) do
          path
        else
          _unusable -> nil
        end
      end)

    if found, do: {:ok, found}, else: no_version(version)
  end

  defp no_version(version) do
    Problem.error(
      "no Python #{version}: not on the PATH as #{minor_name(version)}, not in " <>
        "#{pyenv_versions()}, not in Homebrew, not known to uv. Install it " <>
        "(`uv python install #{version}` or `pyenv install #{version}`) or give `:python` a path",
      nil
    )
  end

  # "python3.12" cannot tell one patch version from another.
  defp version_on_path(version) do
    if patch?(version), do: nil, else: System.find_executable(minor_name(version))
  end

  defp version_in_pyenv(version) do
    pyenv_versions()
    |> Path.join("*/bin/python")
    |> Path.wildcard()
    |> Enum.map(&{&1 |> Path.split() |> Enum.at(-3), &1})
    |> Enum.filter(fn {name, _path} -> name =~ ~r/^#{Regex.escape(version)}(\.\d+)?$/ end)
    |> Enum.max_by(fn {name, _path} -> numbers(name) end, fn -> {nil, nil} end)
    |> elem(1)
  end

  defp version_in_homebrew(version) do
    name = minor_name(version)
    paths = for root <- @homebrew, do: Path.join([root, "opt", "python@#{version}", "bin", name])
    Enum.find(paths, &File.exists?/1)
  end

  defp version_by_uv(version) do
    with uv when is_binary(uv) <- System.find_executable("uv"),
         # --system: not the environment of the project that happens to lie around here.
         {path, 0} <-
           System.cmd(uv, ["python", "find", "--system", version], stderr_to_stdout: true) do
      last_line(path)
    else
      _absent -> nil
    end
  end

  defp pyenv_versions do
    (System.get_env("PYENV_ROOT") || "~/.pyenv") |> Path.expand() |> Path.join("versions")
  end

  defp patch?(version), do: length(numbers(version)) == 3

  defp minor_name(version),
    do: "python" <> (version |> numbers() |> Enum.take(2) |> Enum.join("."))

  defp numbers(version), do: version |> String.split(".") |> Enum.map(&String.to_integer/1)

  defp usable(path) do
    case File.stat(path) do
      {:ok, %{type: :regular, mode: mode}} when Bitwise.band(mode, 0o111) != 0 -> resolve(path)
      {:ok, %{type: :directory}} -> Problem.error("#{path} is a folder. #{@takes}", path)
      {:ok, _stat} -> Problem.error("not an executable file: #{path}", path)
      {:error, _posix} -> Problem.error("no such Python: #{path}. #{@takes}", path)
    end
  end

  # A script in the interpreter's place (a shim of pyenv or asdf) costs 60 ms and more at
  # each start, so it is asked once for the interpreter behind it, as long as that is there.
  defp resolve(path) do
    key = {__MODULE__, path}

    with nil <- known(key),
         true <- script?(path),
         {:ok, real} <- ask(path) do
      :persistent_term.put(key, real)
      {:ok, real}
    else
      false -> {:ok, path}
      {:error, error} -> {:error, error}
      real -> {:ok, real}
    end
  end

  defp script?(path), do: File.open!(path, [:read, :binary], &IO.binread(&1, 2)) == "#!"

  defp known(key) do
    real = :persistent_term.get(key, nil)
    if real && File.regular?(real), do: real
  end

  @doc "Asks a shim for the interpreter behind it."
  @spec ask(Path.t(), timeout :: pos_integer()) :: {:ok, Path.t()} | {:error, Error.t()}
  def ask(path, timeout \\ @ask_ms) do
    settings = [:binary, :exit_status, :stderr_to_stdout, :hide]
    command = ["-c", "import sys; print(sys.executable)"]
    port = Port.open({:spawn_executable, path}, [{:args, command} | settings])
    answered(path, collect(port, "", now() + timeout), timeout)
  rescue
    error in ErlangError ->
      Problem.error("#{path} can't be started: #{inspect(error.original)}", path)
  end

  defp collect(port, output, deadline) do
    receive do
      {^port, {:data, bytes}} -> collect(port, output <> bytes, deadline)
      {^port, {:exit_status, status}} -> {status, output}
    after
      max(deadline - now(), 0) ->
        with {:os_pid, os_pid} <- Port.info(port, :os_pid), do: OSProcess.signal(os_pid, :kill)
        receive do: ({^port, {:exit_status, _killed}} -> {:timeout, output})
    end
  end

  defp now, do: System.monotonic_time(:millisecond)

  defp answered(path, {:timeout, output}, timeout) do
    Problem.error(
      "#{path} is a script that should start a Python, and did not say within #{timeout} ms which: " <>
        "give `:python` the path of the interpreter itself",
      path,
      output
    )
  end

  defp answered(path, {status, output}, _timeout) do
    real = last_line(output)

    if status == 0 and File.regular?(real),
      do: {:ok, real},
      else: Problem.error("#{path} does not start a Python: #{String.trim(output)}", path, output)
  end

  defp last_line(output), do: output |> String.trim() |> String.split("\n") |> List.last()
end
