defmodule ErlangPython.Env.Cache do
  @moduledoc false
  # The folder that the library fills: one for the runtime packages of each lock file, `envs` with the
  # environments that it built, and `uv`.

  alias ErlangPython.Error

  @doc """
  Where the cache is: the environment variable `ERLANG_PYTHON_RUNTIME_DIR`, else
  `config :erlang_python, runtime_dir: dir`, else the user's cache folder. Raises
  `ErlangPython.Error` if there is none of them, as for a service without a home folder.
  """
  @spec base() :: Path.t()
  def base do
    Path.expand(
      System.get_env("ERLANG_PYTHON_RUNTIME_DIR") ||
        Application.get_env(:erlang_python, :runtime_dir) ||
        user_cache()
    )
  end

  @doc "Names a folder by content."
  @spec hash(iodata()) :: String.t()
  def hash(content) do
    :sha256 |> :crypto.hash(content) |> Base.encode16(case: :lower) |> binary_part(0, 12)
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
                  "no home folder for the cache of environments and of the workers' packages: set " <>
                    "ERLANG_PYTHON_RUNTIME_DIR or `config :erlang_python, runtime_dir: dir`",
                details: %{python: nil, output: []}
              },
              __STACKTRACE__
  end
end
