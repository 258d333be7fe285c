defmodule ErlangPython.Env.Runtime do
  @moduledoc false
  # The cache of what a worker needs besides the interpreter: one folder per lock file, in it
  # one per interpreter ABI, filled by priv/programs/provision.py at the first use.

  alias ErlangPython.Env
  alias ErlangPython.Env.{Cache, Paths, Provisioner, Shipped}
  alias ErlangPython.Error

  @lock Path.expand("../../../priv/programs/requirements.lock", __DIR__)
  @external_resource @lock
  # Two releases of this package with different locks don't take each other's folder.
  @lock_id Cache.hash(File.read!(@lock))

  @spec lock_id() :: String.t()
  def lock_id, do: @lock_id

  @doc """
  The folder with one subfolder per interpreter ABI, in the cache (`Cache.base/0`).
  """
  @spec root() :: Path.t()
  def root, do: Path.join(Cache.base(), @lock_id)

  @doc "Where a worker looks first: in its release, if that has runtime packages."
  @spec first_root() :: Path.t()
  def first_root, do: Shipped.runtime(@lock_id) || root()

  @doc """
  Makes sure that the packages are there for an interpreter; installs them if not.

  Callers that come at once for the same interpreter share one run. With `root: dir` they are put
  there instead of into the cache; `progress: fun` as in `ErlangPython.Env.build/2`.
  """
  @spec provision(Path.t(), root: Path.t(), progress: Env.progress() | nil) ::
          :ok | {:error, Error.t()}
  def provision(executable, opts \\ []) do
    wheels = Application.get_env(:erlang_python, :wheels)
    job = job(executable, Keyword.get_lazy(opts, :root, &root/0), wheels && Path.expand(wheels))

    with {:ok, _output} <- Provisioner.run(Provisioner, job, opts[:progress]), do: :ok
  rescue
    error in Error -> {:error, put_in(error.details.python, executable)}
  end

  @spec job(Path.t(), root :: Path.t(), wheels :: Path.t() | nil) :: Provisioner.job()
  def job(executable, root, wheels) do
    program = Paths.program(Paths.provision_script())
    command = [executable | program] ++ ["--runtime", root, "--lock", Paths.lock()]

    if wheels,
      do: %{command: command ++ ["--wheels", wheels], hint: ""},
      else: %{command: command, hint: without_network()}
  end

  defp without_network do
    "\nwithout a network: fill a folder by `pip download --no-deps --only-binary :all: " <>
      "--dest DIR -r #{Paths.lock()}` and set `config :erlang_python, wheels: DIR`"
  end
end
