defmodule ErlangPython.Env.Build do
  @moduledoc false
  # From an environment that packages are installed into to its interpreter: the release's own, else the
  # one in the cache, which priv/programs/environment.py builds.

  alias ErlangPython.{Env, Error}

  alias ErlangPython.Env.{
    Ahead,
    Cache,
    Interpreter,
    Paths,
    Problem,
    Provisioner,
    RequirementsFile,
    Shipped
  }

  # A text goes to the script as one argument, for which Linux has a limit of 128 KiB.
  @longest_text 100_000

  @spec run(Env.t(), Env.progress() | nil) :: {:ok, Path.t()} | {:error, Error.t()}
  def run(env, progress) do
    with {:absent, id, arguments} <- shipped(env), do: cached(env, id, arguments, progress)
  rescue
    # No folder for the cache.
    error in Error -> {:error, error}
  end

  # The machine's wheel folder serves every environment that has none of its own.
  defp wheels(env) do
    wheels = env.wheels || Application.get_env(:erlang_python, :wheels)
    wheels && Path.expand(wheels)
  end

  # The release's own, or what is to be built.
  defp shipped(env) do
    with nil <- Shipped.environment(env) do
      case describe(env) do
        {:ok, id, arguments} -> Shipped.content(id) || {:absent, id, arguments}
        {:error, error} -> {:error, told(error, unknown(env))}
      end
    end
  end

  defp told(error, nil), do: error
  defp told(error, warning), do: %{error | message: error.message <> "\n" <> warning}

  defp unknown(env) do
    if Shipped.release?() do
      "the environment of #{env |> Ahead.place() |> Ahead.name()} is not in this release. Name it in mix.exs, with " <>
        "the same packages, options and Python: releases: [my_app: [erlang_python: [environments: [...]]]]"
    end
  end

  # A worker starts often, so an environment is asked for once.
  defp cached(env, id, arguments, progress) do
    key = {__MODULE__, Cache.base(), id}

    with nil <- built(:persistent_term.get(key, nil)),
         {:ok, job} <- job(env, id, arguments),
         {:ok, python} <- provision(job, progress) do
      :persistent_term.put(key, python)
      {:ok, python}
    end
  end

  defp built(nil), do: nil
  defp built(python), do: if(File.exists?(python), do: {:ok, python})

  defp provision(job, progress) do
    with {:ok, output} <- Provisioner.run(Provisioner, job, progress) do
      {:ok, Enum.find_value(output, &ready/1)}
    end
  end

  defp ready("ready: " <> python), do: python
  defp ready(_line), do: nil

  @doc "The interpreter of an environment that has been built; an error if it has not."
  @spec look(Env.t()) :: {:ok, Path.t()} | {:error, Error.t()}
  def look(env) do
    with {:absent, id, _arguments} <- shipped(env) do
      folder = place(id)
      python = Path.join(folder, "bin/python")

      if File.exists?(python),
        do: {:ok, python},
        else: Problem.error("not built yet: #{folder}", python)
    end
  rescue
    error in Error -> {:error, error}
  end

  @doc "The folder of an environment in the cache, whether it is there or not."
  @spec folder(Env.t()) :: {:ok, Path.t()} | {:error, Error.t()}
  def folder(env) do
    with {:ok, id, _arguments} <- describe(env), do: {:ok, place(id)}
  end

  defp place(id), do: Path.join([Cache.base(), "envs", id])

  # The content, by which it is found, and the script's arguments that say the same.
  defp describe(env) do
    with {:ok, content, arguments} <- content(env) do
      python = interpreter(env)
      system = :system_architecture |> :erlang.system_info() |> to_string()
      named = {content, env.extras, env.groups, python, wheels(env)}
      id = hash({named, system})
      {:ok, id, arguments ++ options(env, python)}
    end
  end

  defp content(%{kind: :requirements, requirements: {:file, path}}) do
    with {:ok, texts} <- RequirementsFile.read(path) do
      # Packages by relative paths are others in another folder.
      folder = path |> Path.expand() |> Path.dirname()
      where = if Enum.any?(texts, &RequirementsFile.paths?/1), do: folder
      {:ok, {:requirements_file, texts, where}, ["--requirements-file", Path.expand(path)]}
    end
  end

  defp content(%{kind: :requirements, requirements: list}),
    do: {:ok, {:requirements, list}, Enum.flat_map(list, &["--requirement", &1])}

  defp content(%{pyproject: {:text, text}}) when byte_size(text) > @longest_text,
    do: Problem.error("a pyproject.toml of #{byte_size(text)} bytes: give its path instead", nil)

  defp content(%{pyproject: {:text, text}}), do: {:ok, {:text, text}, ["--pyproject", text]}

  defp content(%{pyproject: {:file, path}}) do
    folder = path |> Path.expand() |> Path.dirname()

    case File.read(path) do
      {:ok, text} ->
        others =
          for name <- ["uv.lock", ".python-version"], do: File.read(Path.join(folder, name))

        # Packages by relative paths are others in another folder.
        where = if text =~ ~r/\b(path|workspace)\s*=/, do: folder
        {:ok, {:file, text, others, where}, ["--project", folder]}

      {:error, posix} ->
        Problem.unreadable(path, posix)
    end
  end

  # A path if it is here. A version that is not may be downloaded, and a project names its own.
  defp interpreter(%{kind: :uv, python: nil}), do: nil

  defp interpreter(%{python: python}) do
    case Interpreter.find(python: python) do
      {:ok, path} -> path
      {:error, _error} -> python
    end
  end

  defp options(env, python) do
    List.flatten([
      if(python, do: ["--python", python], else: []),
      Enum.map(env.extras, &["--extra", &1]),
      Enum.map(env.groups, &["--group", &1]),
      if(wheels(env), do: ["--wheels", wheels(env)], else: []),
      if(env.downloads, do: [], else: ["--no-downloads"])
    ])
  end

  defp job(env, id, arguments) do
    with {:ok, command, hint} <- launcher(env) do
      script = Paths.program(Paths.environment_script()) ++ ["--base", Cache.base(), "--id", id]

      hint = if wheels(env), do: hint, else: hint <> without_network(env)
      {:ok, %{command: command ++ script ++ arguments, hint: hint, warning: unknown(env)}}
    end
  end

  # Any Python runs the script. With none there is still uv, which may download one.
  defp launcher(env) do
    named = if env.python, do: [env.python], else: []

    case Enum.find_value(named ++ [nil], &found/1) do
      nil -> by_uv(env)
      path -> {:ok, [path], ""}
    end
  end

  defp found(python) do
    case Interpreter.find(python: python) do
      {:ok, path} -> path
      {:error, _error} -> nil
    end
  end

  defp by_uv(env) do
    case System.find_executable("uv") do
      nil ->
        without_uv(env)

      uv ->
        downloads = if env.downloads, do: [], else: ["--no-python-downloads"]

        command = [uv, "run", "--no-project", "--no-config"] ++ downloads

        {:ok, command ++ ["--python", version(env) || ">=3.9", "python"],
         "\nthere is no Python on the PATH, and uv was asked for #{version(env) || "one"}: if it has none and can't " <>
           "download it, install Python #{version(env) || "3.9 or newer"}, or give `:python` a path"}
    end
  end

  defp without_uv(env) do
    {:error, error} = Interpreter.find(python: version(env))
    uv = if env.downloads, do: ", or install uv, which brings a Python", else: ""
    {:error, %{error | message: error.message <> uv}}
  end

  # What uv looks for and downloads; a path or a name it can't.
  defp version(%{python: python}), do: if(python && python =~ ~r/^\d/, do: python)

  defp without_network(%{kind: :requirements, requirements: requirements}) do
    wanted =
      case requirements do
        {:file, path} -> "-r #{Path.expand(path)}"
        list -> "uv #{Enum.join(list, " ")}"
      end

    "\nwithout a network: fill a folder by `pip download --dest DIR #{wanted}` " <>
      "and give the environment the option `wheels: DIR`"
  end

  defp without_network(_env) do
    "\nwithout a network: fill a folder with the wheels of the dependencies and of uv " <>
      "(`pip download --dest DIR uv ...`) and give the environment the option `wheels: DIR`"
  end

  defp hash(term),
    do: Cache.hash(:erlang.term_to_binary(term, [:deterministic, minor_version: 2]))
end
