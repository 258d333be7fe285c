defmodule ErlangPython.Release do
  @moduledoc """
  Puts into a `mix release` what its Python needs, so that it starts without a network and without a
  folder to write to.

  It is a step of the release, after `:assemble`:

      # mix.exs
      def project do
        [
          releases: [
            my_app: [steps: [:assemble, &ErlangPython.Release.add/1]]
          ]
        ]
      end

  For each pool of the configuration (`config :erlang_python, pools: [...]`, and the pool `:default`)
  it builds the environment and copies it into the release, and installs the runtime packages for its
  interpreter there. Pools in supervision trees are not in the configuration. What they need is
  named in the release's options:

      my_app: [
        steps: [:assemble, &ErlangPython.Release.add/1],
        erlang_python: [environments: [{:requirements, ["numpy"]}, "3.12"]]
      ]

  Each is what a pool takes as `:python`. An environment is found again if it is described in the same way, or has the
  same content: packages, options and interpreter. So a file that the pool names by `Application.app_dir/2` is named here by
  its path in the project. One that is not found is a warning in the log, and is built on the target.

  With `:environments` given, the pool `:default` counts only if it is configured.

  ## What must be on the target

  The same operating system and processor, and the interpreter: environments name the Python that they
  were made with by its path. So install the same Python package on both, or build in the image that
  you run. An interpreter that is named by `:python`, and a folder that is named by `:venv`, are not
  copied; the runtime packages for them are.
  """

  alias ErlangPython.{Env, Error}
  alias ErlangPython.Env.{Ahead, Build, Runtime, Shipped}

  # Below our priv folder.
  @python_folders ~w(erlport programs python)

  @doc """
  The step. Raises `ErlangPython.Error` if an environment can't be built or the packages can't be
  installed.
  """
  @spec add(Mix.Release.t()) :: Mix.Release.t()
  def add(release) do
    Mix.Task.run("app.config")
    named = get_in(release.options, [:erlang_python, :environments]) || []
    # Before the application starts, which takes no wrong options.
    places = Ahead.places(named)
    {:ok, _started} = Application.ensure_all_started(:erlang_python)

    priv = priv(release)
    shipped = Path.join(priv, "shipped")
    File.rm_rf!(shipped)
    File.mkdir_p!(Path.join(shipped, "envs"))

    for place <- places, do: add_place(place, shipped, priv)

    Shipped.write_index!(
      shipped,
      for(%{python: env} = place <- places, built?(place), do: {env, name!(env)})
    )

    if named == [], do: step(Ahead.unseen())
    release
  end

  defp priv(%{applications: %{erlang_python: application}, path: path}),
    do: Path.join([path, "lib", "erlang_python-#{application[:vsn]}", "priv"])

  defp priv(_release),
    do: raise(ArgumentError, "the release has no application :erlang_python: is it a dependency?")

  defp add_place(place, shipped, priv) do
    root = Path.join([shipped, "runtime", Runtime.lock_id()])

    case Ahead.prepare(place, root: root, progress: &step/1) do
      {:ok, python} ->
        if built?(place), do: copy(python, place.python, shipped)
        for folder <- @python_folders, do: compile(python, Path.join(priv, folder))
        step("#{Ahead.name(place)} #{where(place)} (#{python})")

      {:error, error} ->
        raise error
    end
  end

  defp where(place) do
    if built?(place),
      do: "is in the release",
      else: "must be on the target; what its workers need is in the release"
  end

  defp step(text), do: Mix.shell().info("* python: " <> text)

  defp built?(%{python: %Env{kind: kind}, venv: nil}), do: kind in [:uv, :requirements]
  defp built?(_place), do: false

  defp name!(env), do: env |> folder!() |> Path.basename()

  defp folder!(env) do
    case Build.folder(env) do
      {:ok, folder} -> folder
      {:error, %Error{} = error} -> raise error
    end
  end

  # `cp`, because it takes links as what they are, and `File.cp_r` asks the node's one file server twice
  # for each file.
  defp copy(python, env, shipped) do
    envs = Path.join(shipped, "envs")
    {_output, 0} = System.cmd("cp", ["-RPp", folder!(env), envs])
    # Some packages bring files that are no valid Python.
    _status = compileall(python, ["-j", "0", Path.join([envs, name!(env), "lib"])])
  end

  defp compile(python, folder), do: 0 = compileall(python, [folder])

  # A release may lie where nobody can write. By content, as copying changes the times of files.
  defp compileall(python, arguments) do
    command = ~w(-I -m compileall -qq -f --invalidation-mode unchecked-hash)
    {_output, status} = System.cmd(python, command ++ arguments, stderr_to_stdout: true)
    status
  end
end
