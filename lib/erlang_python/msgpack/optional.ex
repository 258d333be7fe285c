defmodule ErlangPython.MessagePack.Optional do
  @moduledoc false
  # Is a module there that is no dependency of ours? Asking the code server for a missing one
  # means a search through all of the code path, a millisecond and more: the answer "no" is
  # kept. A module that is loaded later in spite of it counts.

  @spec available?(module()) :: boolean()
  def available?(module), do: :erlang.module_loaded(module) or found?(module)

  defp found?(module) do
    case :persistent_term.get({__MODULE__, module}, :unknown) do
      :missing -> false
      :unknown -> Code.ensure_loaded?(module) or missing(module)
    end
  end

  defp missing(module) do
    :persistent_term.put({__MODULE__, module}, :missing)
    false
  end
end
