defmodule ErlangPython do
  @moduledoc """
  Python for the BEAM: supervised pools of Python processes.
  """
end
