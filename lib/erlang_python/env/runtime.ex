defmodule ErlangPython.Env.Runtime do
  @moduledoc false
  # The cache of what a worker needs besides the interpreter: one folder per lock file, in it
  # one per interpreter ABI, filled by priv/python/provision.py at the first use.

  alias ErlangPython.Env.{Paths, Provisioner}
  alias ErlangPython.Error

  @lock Path.expand("../../../priv/python/requirements.lock", __DIR__)
  @external_resource @lock
  # Two releases of this package with different locks don't take each other's folder.
  @lock_id :crypto.hash(:sha256, File.read!(@lock))
           |> Base.encode16(case: :lower)
           |> binary_part(0, 12)

  @doc """
  The folder with one subfolder per interpreter ABI.

  It lies in the user's cache folder, or below `config :erlang_python, runtime_dir: dir`, or
  below the environment variable `ERLANG_PYTHON_RUNTIME_DIR`, which wins. Raises
  `ErlangPython.Error` if there is none of them, as for a service without a home folder.
  """
  @spec root() :: Path.t()
  def root do
    base =
      System.get_env("ERLANG_PYTHON_RUNTIME_DIR") ||
        Application.get_env(:erlang_python, :runtime_dir) ||
        user_cache()

    base |> Path.expand() |> Path.join(@lock_id)
  end

  defp user_cache do
    :user_cache |> :filename.basedir("erlang_python") |> Path.join("runtime")
  rescue
    # OTP's answer to a missing HOME.
    _no_home in [MatchError, ErlangError] ->
      reraise %Error{
                kind: :environment,
                executed: :no,
                message:
                  "no home folder for the cache of pyzmq and msgpack: set " <>
                    "ERLANG_PYTHON_RUNTIME_DIR or `config :erlang_python, runtime_dir: dir`",
                details: %{python: nil, output: []}
              },
              __STACKTRACE__
  end

  @doc """
  Makes sure that the packages are there for an interpreter; installs them if not.

  Callers that come at once for the same interpreter share one run.
  """
  @spec provision(Path.t()) :: :ok | {:error, Error.t()}
  def provision(executable) do
    wheels = Application.get_env(:erlang_python, :wheels)
    wheels = wheels && Path.expand(wheels)
    job = %{python: executable, runtime: root(), lock: Paths.lock(), wheels: wheels}
    Provisioner.provision(Provisioner, job)
  rescue
    error in Error -> {:error, put_in(error.details.python, executable)}
  end
end
