defmodule ErlangPython.Env.Paths do
  @moduledoc false
  # Where this package's Python code is: in the source tree, a dependency or a release.

  @spec python_code() :: Path.t()
  def python_code, do: :erlang_python |> :code.priv_dir() |> Path.join("python")

  @spec bootstrap() :: Path.t()
  def bootstrap, do: Path.join(python_code(), "bootstrap.py")

  @spec provision_script() :: Path.t()
  def provision_script, do: Path.join(python_code(), "provision.py")

  @spec lock() :: Path.t()
  def lock, do: Path.join(python_code(), "requirements.lock")
end
