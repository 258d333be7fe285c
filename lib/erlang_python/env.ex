defmodule ErlangPython.Env do
  @moduledoc """
  Where the Python of a pool comes from: an interpreter, a virtual environment, or packages that are
  installed on first use.

      env = ErlangPython.Env.requirements(["numpy>=1.26", "pandas"], python: "3.12")
      {ErlangPython.Pool, name: :ml, python: env}

  `uv/1` and `requirements/2` describe an environment; nothing is installed when they are called. It
  is built when a pool starts, or ahead by `mix erlang_python.setup` or `build/2`, into the cache of the
  library, and found there from then on, by everyone who asks for the same content. Building is not
  counted in a pool's `:start_timeout`.

  In `config/config.exs` dependencies are not compiled yet, so these functions can't be called there.
  A pool's option `:python` takes the same as data:

  | function | data |
  |---|---|
  | `system(python: "3.12")` | `"3.12"`, `{:system, python: "3.12"}` |
  | `venv("/srv/venv")` | `{:venv, "/srv/venv"}` |
  | `uv("python/pyproject.toml")` | `{:uv, "python/pyproject.toml"}` |
  | `uv(pyproject: text, wheels: "w")` | `{:uv, pyproject: text, wheels: "w"}` |
  | `requirements(["numpy"])` | `{:requirements, ["numpy"]}` |
  | `requirements(["numpy"], python: "3.12")` | `{:requirements, ["numpy"], python: "3.12"}` |
  | `requirements("python/requirements.txt")` | `{:requirements, "python/requirements.txt"}` |
  """

  alias ErlangPython.{Charlist, Error, UnknownOption}
  alias ErlangPython.Env.{Build, Interpreter}

  @enforce_keys [:kind]
  defstruct kind: nil,
            python: nil,
            path: nil,
            pyproject: nil,
            requirements: [],
            extras: [],
            groups: [],
            wheels: nil,
            downloads: true

  @typedoc """
  What to use or to build.

    * `:kind` - `:system`, `:venv`, `:uv` or `:requirements`.
    * `:python` - the interpreter: a path, a version such as `"3.12"`, a name on the `PATH`, or `nil`.
    * `:path` - the folder of a `:venv`.
    * `:pyproject` - for `:uv`: `{:text, toml}` or `{:file, path}`.
    * `:requirements` - for `:requirements`: texts such as `"numpy>=1.26"`, or `{:file, path}`.
    * `:extras`, `:groups` - of the project: its optional dependencies and dependency groups.
    * `:wheels` - a folder of wheels, from which alone packages are installed.
    * `:downloads` - may uv download a Python if none is found that fits.
  """
  @type t :: %__MODULE__{
          kind: :system | :venv | :uv | :requirements,
          python: String.t() | nil,
          path: Path.t() | nil,
          pyproject: {:text, String.t()} | {:file, Path.t()} | nil,
          requirements: [String.t()] | {:file, Path.t()},
          extras: [String.t()],
          groups: [String.t()],
          wheels: Path.t() | nil,
          downloads: boolean()
        }

  @typedoc """
  A step of a build: its text, as in `"Downloading numpy (15.0MiB)"`.
  """
  @type progress :: (String.t() -> term())

  @building [:python, :wheels, :downloads]

  @doc """
  An interpreter of this machine, with the packages that it has.

  The one option is `:python`: a path, a version or a name on the `PATH`; without it, `python3`.
  """
  @spec system(keyword()) :: t()
  def system(opts \\ []), do: new(%{kind: :system}, opts, [:python])

  @doc """
  A ready virtual environment: a folder made by `venv`, `virtualenv`, `uv venv` or conda.
  """
  @spec venv(Path.t()) :: t()
  def venv(path), do: %__MODULE__{kind: :venv, path: text!(:path, path)}

  @doc """
  The dependencies of a `pyproject.toml`, installed by uv.

  Takes the text of a `pyproject.toml`, the path of one (or of its folder), or options:

    * `:pyproject` - required: the text or the path.
    * `:extras`, `:groups` - lists of names: which optional dependencies (`project.optional-dependencies`)
      and dependency groups (`dependency-groups`) to install too. Default: none.
    * `:python` - the interpreter, a path or a version. By default the first that fits the project's
      `requires-python` (and `.python-version` beside it): of the `PATH`, of pyenv, Homebrew, uv.
    * `:downloads` - may uv download a Python if none of this machine fits. Default: `true`.
    * `:wheels` - a folder of wheels to install from, without a network. Default: the setting `:wheels`
      of `:erlang_python`, if there is one.

  If a `uv.lock` lies beside the file, exactly what it locks is installed. The project itself is not.
  """
  @spec uv(String.t() | Path.t() | keyword()) :: t()
  def uv(pyproject) when is_binary(pyproject), do: uv(pyproject: pyproject)

  def uv(opts) do
    unless Keyword.keyword?(opts) and Keyword.has_key?(opts, :pyproject) do
      raise ArgumentError,
            "expected the text or the path of a pyproject.toml, or options with :pyproject, " <>
              "got: #{inspect(opts)}"
    end

    {pyproject, opts} = Keyword.pop!(opts, :pyproject)

    new(
      %{kind: :uv, pyproject: source(text!(:pyproject, pyproject))},
      opts,
      [:extras, :groups | @building]
    )
  end

  # A text has lines; a path has none.
  defp source(pyproject) do
    cond do
      String.contains?(pyproject, "\n") or pyproject =~ ~r/^\s*\[/ -> {:text, pyproject}
      Path.extname(pyproject) == ".toml" -> {:file, pyproject}
      true -> {:file, Path.join(pyproject, "pyproject.toml")}
    end
  end

  @doc """
  Packages, as pip names them: `["numpy", "pandas>=2.2"]`, or the path of a `requirements.txt`.

  The options are `:python` (a path or a version; default `python3`), `:downloads` and `:wheels`, as
  in `uv/1`. Versions that are not pinned are those of the day on which the environment is built.

  A file is given to the installer as it is, so it may have hashes, options and markers. Those that it names (`-r`, `-c`)
  belong to it: when one of them changes, a new environment is built. What lies behind a path or an address in it may
  change unseen.
  """
  @spec requirements([String.t()] | Path.t(), keyword()) :: t()
  def requirements(list_or_path, opts \\ [])

  def requirements(path, opts) when is_binary(path) do
    unless path =~ ~r/\.(txt|in|lock|toml)$/ or path =~ "/", do: no_requirements!(path)
    new(%{kind: :requirements, requirements: {:file, path}}, opts, @building)
  end

  def requirements(list, opts) do
    cond do
      not is_list(list) or list == [] or List.improper?(list) -> no_requirements!(list)
      file = Enum.find(list, &file?/1) -> no_requirement!(file)
      not Enum.all?(list, &requirement?/1) -> no_requirements!(list)
      true -> :ok
    end

    new(%{kind: :requirements, requirements: list}, opts, @building)
  end

  @spec no_requirements!(term()) :: no_return()
  defp no_requirements!(other) do
    raise ArgumentError,
          "expected a list of requirements such as [\"numpy>=1.26\"], or the path of a requirements.txt, " <>
            "got: #{inspect(other)}"
  end

  @spec no_requirement!(String.t()) :: no_return()
  defp no_requirement!(file) do
    raise ArgumentError,
          "#{inspect(file)} is a file, not a requirement: give it in place of the list"
  end

  # To pip it would be a package of that name.
  defp file?(text), do: is_binary(text) and text =~ ~r/^[^ @]*\.(txt|in|lock)$/

  # A dash would be an option of pip's, which installs what no hash knows of.
  defp requirement?(text), do: is_binary(text) and text =~ ~r/^[A-Za-z0-9]/

  @doc """
  The interpreter of an environment, which is built first if it is not there yet.

  With `progress: fun` the steps of a build are given to a function (`t:progress/0`), in the calling
  process, instead of to the Logger. Takes as long as the installation does.

  Fails with `{:error, %ErlangPython.Error{kind: :environment}}`, whose message says which
  interpreter and folder it was, what the installer said, and what to do.
  """
  @spec build(t(), progress: progress()) :: {:ok, Path.t()} | {:error, Error.t()}
  def build(env, opts \\ [])

  def build(%__MODULE__{kind: :system, python: python}, _opts),
    do: Interpreter.find(python: python)

  def build(%__MODULE__{kind: :venv, path: path}, _opts), do: Interpreter.find(venv: path)
  def build(%__MODULE__{} = env, opts), do: Build.run(env, opts[:progress])

  def build(other, _opts),
    do: raise(ArgumentError, "expected an ErlangPython.Env, got: #{inspect(other)}")

  # What a pool's :python may be, as a struct; nil for what is no environment.
  @doc false
  @spec cast!(term()) :: t() | nil
  def cast!(%__MODULE__{} = env), do: env
  def cast!({:system, opts}), do: system(opts)
  def cast!({:venv, path}), do: venv(path)
  def cast!({:uv, project}), do: uv(Charlist.to_text(project))
  def cast!({:requirements, list}), do: requirements(texts(list))
  def cast!({:requirements, list, opts}), do: requirements(texts(list), opts)
  def cast!(_other), do: nil

  defp texts(path_or_list) do
    case Charlist.to_text(path_or_list) do
      # Not an improper list, which has no length.
      list when length(list) >= 0 -> Enum.map(list, &Charlist.to_text/1)
      other -> other
    end
  end

  # The interpreter of a pool by its options; a virtual environment wins.
  @doc false
  @spec interpreter(t() | String.t() | nil, Path.t() | nil, keyword()) ::
          {:ok, Path.t()} | {:error, Error.t()}
  def interpreter(python, venv, opts \\ [])
  def interpreter(%__MODULE__{} = env, nil, opts), do: build(env, opts)

  def interpreter(python, venv, _opts) do
    python = if is_binary(python), do: python
    Interpreter.find(python: python, venv: venv)
  end

  defp new(fields, opts, known) do
    unless Keyword.keyword?(opts) do
      raise ArgumentError, "expected options as a keyword list, got: #{inspect(opts)}"
    end

    with [unknown | _others] <- Keyword.keys(opts) -- known,
         do: UnknownOption.raise!("option of an environment", unknown, known)

    opts = for {key, value} <- opts, do: {key, check(key, value)}
    __MODULE__ |> struct!(fields) |> struct!(opts)
  end

  defp check(key, nil) when key in [:python, :wheels], do: nil
  defp check(key, value) when key in [:python, :wheels], do: text!(key, value)
  defp check(:downloads, value) when is_boolean(value), do: value

  defp check(:downloads, value),
    do: raise(ArgumentError, "expected :downloads to be a boolean, got: #{inspect(value)}")

  defp check(_key, []), do: []

  # Not a string of Erlang's, which is a list of numbers.
  defp check(key, [first | _] = names) when not is_integer(first),
    do: Enum.map(names, &text!(key, to_string(&1)))

  defp check(key, value),
    do:
      raise(
        ArgumentError,
        "expected #{inspect(key)} to be a list of names, got: #{inspect(value)}"
      )

  defp text!(key, value) do
    case Charlist.to_text(value) do
      text when is_binary(text) and text != "" ->
        text

      _no_text ->
        raise ArgumentError,
              "expected #{inspect(key)} to be a non-empty string, got: #{inspect(value)}"
    end
  end
end
