defmodule ErlangPython.Env.Ahead do
  @moduledoc false
  # What the pools of the configuration need, for the tasks and the release step: known before any of
  # them starts.

  alias ErlangPython.{Env, Error}
  alias ErlangPython.Env.{Build, Runtime}
  alias ErlangPython.Pool.Configured

  @type place :: %{pools: [atom()], python: Env.t() | String.t() | nil, venv: Path.t() | nil}

  @doc """
  What the configured pools need and what is named beside them, written as for a pool's `:python`; each once. The default
  pool is among them; where something is named, only if the configuration names it.
  """
  @spec places(environments :: [term()]) :: [place()]
  def places(environments) do
    configured = configured(if environments == [], do: :all, else: :configured)
    Enum.uniq_by(configured ++ Enum.map(environments, &place/1), &{&1.python, &1.venv})
  end

  defp configured(which) do
    which
    |> Configured.list()
    |> Enum.map(&Configured.checked!/1)
    |> Enum.group_by(&{&1.python, &1.venv}, & &1.name)
    |> Enum.map(fn {{python, venv}, pools} -> %{pools: pools, python: python, venv: venv} end)
    |> Enum.sort_by(& &1.pools)
  end

  @doc "An environment that no configured pool has. Raises `ArgumentError` for what is none."
  @spec place(term()) :: place()
  def place(python) when is_binary(python), do: place(Env.system(python: python))

  def place(given) do
    env =
      Env.cast!(given) ||
        raise ArgumentError,
              "expected each of :environments to be what a pool takes as :python, got: #{inspect(given)}"

    %{pools: [], python: env, venv: nil}
  end

  @doc "What a project's releases name, as `releases: [my_app: [erlang_python: [environments: [...]]]]` in mix.exs."
  @spec of_releases(keyword() | nil) :: [term()]
  def of_releases(releases) do
    for {_name, options} <- releases || [],
        options = if(is_function(options, 0), do: options.(), else: options),
        environment <- get_in(options, [:erlang_python, :environments]) || [],
        uniq: true,
        do: environment
  end

  @doc "What `places/1` can't know of."
  @spec unseen() :: String.t()
  def unseen do
    "Only configured pools were looked at, and what mix.exs names in releases: " <>
      "[my_app: [erlang_python: [environments: [...]]]]. Pools of supervision trees are not seen."
  end

  @doc """
  Builds the environment if there is one to build, and fills the folder of runtime packages for its
  interpreter.
  """
  @spec prepare(place(), root: Path.t(), progress: Env.progress()) ::
          {:ok, Path.t()} | {:error, Error.t()}
  def prepare(place, opts) do
    with {:ok, python} <-
           Env.interpreter(place.python, place.venv, Keyword.take(opts, [:progress])),
         :ok <- Runtime.provision(python, opts),
         do: {:ok, python}
  end

  @doc "The interpreter as it is now: an environment that is not built yet is an error."
  @spec look(place()) :: {:ok, Path.t()} | {:error, Error.t()}
  def look(%{python: %Env{kind: kind} = env, venv: nil}) when kind in [:uv, :requirements],
    do: Build.look(env)

  def look(%{python: python, venv: venv}), do: Env.interpreter(python, venv)

  @doc "Who needs it."
  @spec users(place()) :: String.t()
  def users(%{pools: []}), do: "the releases"
  def users(%{pools: pools}), do: Enum.map_join(pools, ", ", &inspect/1)

  @doc "In words."
  @spec name(place()) :: String.t()
  def name(%{venv: venv}) when is_binary(venv), do: "the virtual environment #{venv}"
  def name(%{python: nil}), do: "python3"
  def name(%{python: python}) when is_binary(python), do: "Python #{python}"
  def name(%{python: %{kind: :venv, path: path}}), do: "the virtual environment #{path}"
  def name(%{python: %{kind: :system, python: python}}), do: "Python #{python || "3"}"
  def name(%{python: %{requirements: {:file, path}}}), do: path
  def name(%{python: %{kind: :requirements, requirements: list}}), do: Enum.join(list, ", ")
  def name(%{python: %{pyproject: {:file, path}}}), do: path
  def name(%{python: %{pyproject: {:text, _toml}}}), do: "a pyproject.toml given as text"
end
