defmodule ErlangPython.Env.Paths do
  @moduledoc false
  # Where this package's Python code is: in the source tree, a dependency or a release.

  @spec priv() :: Path.t()
  def priv do
    # As bytes: under a locale without UTF-8 each element of the charlist is one.
    encoding = :file.native_name_encoding()
    :erlang_python |> :code.priv_dir() |> :unicode.characters_to_binary(encoding, encoding)
  end

  @doc "The folder in which workers find our two packages; all else is kept out of what they can import."
  @spec python_code() :: Path.t()
  def python_code, do: Path.join(priv(), "python")

  @spec programs() :: Path.t()
  def programs, do: Path.join(priv(), "programs")

  @spec bootstrap() :: Path.t()
  def bootstrap, do: Path.join(programs(), "bootstrap.py")

  @doc """
  The arguments with which a Python runs one of our programs. A module in the current folder or in PYTHONPATH must not
  get in the way; `-I`, which says so too, is unknown to a Python 2, which has to say that it is too old.
  """
  @spec program(script :: Path.t()) :: [String.t()]
  def program(script), do: ["-E", "-s", bootstrap(), script]

  @doc "The folder in which workers of `ErlangPython.ErlPort` find the package `erlport`."
  @spec erlport() :: Path.t()
  def erlport, do: Path.join(priv(), "erlport")

  @spec provision_script() :: Path.t()
  def provision_script, do: Path.join(programs(), "provision.py")

  @spec environment_script() :: Path.t()
  def environment_script, do: Path.join(programs(), "environment.py")

  @spec identity_script() :: Path.t()
  def identity_script, do: Path.join(programs(), "identity.py")

  @spec lock() :: Path.t()
  def lock, do: Path.join(programs(), "requirements.lock")
end
