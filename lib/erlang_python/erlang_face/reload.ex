defmodule ErlangPython.ErlangFace.Reload do
  @moduledoc false
  # `py:reload`.

  alias ErlangPython.ErlangFace.{Reason, Text, Workers}

  @spec run(term()) :: :ok | {:error, Workers.failures() | Reason.t()}
  def run(module) do
    with {:ok, module} <- Text.name(module),
         {:ok, results} <- Workers.each(Workers.ours("_reload", "reload", [module, false])) do
      case Workers.failures(results) do
        [] -> :ok
        failures -> {:error, failures}
      end
    end
  end
end
