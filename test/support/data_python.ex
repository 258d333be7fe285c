defmodule ErlangPython.DataPython do
  @moduledoc false
  # The environment of examples/livebook/data_science.livemd, for tests of what its packages make: one for both, built
  # once into the user's cache, as a user's is.

  alias ErlangPython.Env

  @spec env() :: Env.t()
  def env, do: Env.requirements(["matplotlib", "numpy", "pandas", "plotly"])
end
