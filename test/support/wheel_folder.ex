defmodule ErlangPython.WheelFolder do
  @moduledoc false
  # A folder of wheels that tests install from: downloaded once and kept, so that the network is needed once.
  # `python_tests/test_environment.py` uses the same.

  alias ErlangPython.TestPython

  @packages ["six==1.17.0", "iniconfig==2.1.0"]

  @spec small() :: Path.t()
  def small, do: folder("small", @packages)

  @doc "What an environment needs where there is no uv either."
  @spec with_uv() :: Path.t()
  def with_uv, do: folder("uv", ["uv", "six==1.17.0"])

  defp folder(name, packages) do
    folder = Path.expand("../../.cache/wheels/#{name}", __DIR__)

    if not File.dir?(folder) do
      fresh = "#{folder}-#{System.pid()}"
      pip = ~w(-m pip download --quiet --no-deps --only-binary :all: --dest)
      {_, 0} = System.cmd(TestPython.executable(), pip ++ [fresh | packages])
      File.rename!(fresh, folder)
    end

    folder
  end
end
