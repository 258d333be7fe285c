defmodule ErlangPython.Env.Shipped do
  @moduledoc false
  # What `ErlangPython.Release` put into a release: runtime packages, and environments, which are found by
  # how they were described, since the files that describe them may have stayed behind, and by their content, since
  # a path may be another in the release.

  alias ErlangPython.{Env, Error}
  alias ErlangPython.Env.{Cache, Interpreter, Paths, Problem}

  @index "environments.term"
  # Written by environment.py.
  @marker "erlang_python.txt"

  @doc "The folder in the application's own folder."
  @spec folder() :: Path.t()
  def folder, do: Path.join(Paths.priv(), "shipped")

  @doc "The folder of runtime packages, nil outside of a release that has them."
  @spec runtime(lock_id :: String.t()) :: Path.t() | nil
  def runtime(lock_id) do
    path = Path.join([folder(), "runtime", lock_id])
    if File.dir?(path), do: path
  end

  @doc "The interpreter of an environment that was described so, nil if the release has none."
  @spec environment(Env.t()) :: {:ok, Path.t()} | {:error, Error.t()} | nil
  def environment(env) do
    with name when is_binary(name) <- index()[key(env)], do: check(place(name))
  end

  @doc "The interpreter of the environment that has this content (`ErlangPython.Env.Build`), nil if the release has none."
  @spec content(id :: String.t()) :: {:ok, Path.t()} | {:error, Error.t()} | nil
  def content(id) do
    if File.dir?(place(id)), do: check(place(id))
  end

  @doc "Is this a release to which the step has added what it knew of?"
  @spec release?() :: boolean()
  def release?, do: File.exists?(Path.join(folder(), @index))

  defp place(name), do: Path.join([folder(), "envs", name])

  @doc "Writes the index: which environment lies in which folder."
  @spec write_index!(shipped :: Path.t(), [{Env.t(), name :: String.t()}]) :: :ok
  def write_index!(shipped, environments) do
    lines = for {env, name} <- environments, do: [key(env), ?\s, name, ?\n]
    File.write!(Path.join(shipped, @index), lines)
  end

  defp index do
    case File.read(Path.join(folder(), @index)) do
      {:ok, text} -> for line <- String.split(text, "\n", trim: true), into: %{}, do: pair(line)
      {:error, :enoent} -> %{}
    end
  end

  defp pair(line), do: line |> String.split(" ") |> List.to_tuple()

  # As written: a relative path stays one.
  defp key(env), do: Cache.hash(:erlang.term_to_binary(env, [:deterministic, minor_version: 2]))

  # Once: with another Python in the old one's place no package would be found.
  defp check(folder) do
    key = {__MODULE__, folder}

    with nil <- :persistent_term.get(key, nil),
         {:ok, made_for} <- File.read(Path.join(folder, @marker)),
         {:ok, python} <- Interpreter.find(venv: folder),
         {^made_for, 0} <-
           System.cmd(python, ["-I", Paths.identity_script()], stderr_to_stdout: true) do
      :persistent_term.put(key, python)
      {:ok, python}
    else
      python when is_binary(python) -> {:ok, python}
      _gone_or_other -> unfit(folder)
    end
  end

  defp unfit(folder) do
    home = Regex.run(~r/^home = (.*)$/m, text(folder, "pyvenv.cfg"), capture: :all_but_first)

    Problem.error(
      "the release's environment #{folder} was made for #{text(folder, @marker)} in #{home}, which this " <>
        "machine does not have there: install that Python, or build the release on a system like this one",
      Path.join(folder, "bin/python")
    )
  end

  defp text(folder, name) do
    case File.read(Path.join(folder, name)) do
      {:ok, text} -> String.trim(text)
      {:error, posix} -> "(#{name}: #{:file.format_error(posix)})"
    end
  end
end
