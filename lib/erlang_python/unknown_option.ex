defmodule ErlangPython.UnknownOption do
  @moduledoc false
  # The error for an option, or another name, that does not exist: which one was meant, and which there are.

  # Below it two names have little in common ("timout" and "timeout" have 0.95, "size" and
  # "workers" 0.46).
  @alike 0.8

  @spec raise!(what :: String.t(), term(), [atom()]) :: no_return()
  @spec raise!(what :: String.t(), term(), [atom()], hint :: String.t()) :: no_return()
  def raise!(what, key, known, hint \\ "") do
    raise ArgumentError, text(what, key, known, hint)
  end

  @spec text(what :: String.t(), term(), [atom()], hint :: String.t()) :: String.t()
  def text(what, key, known, hint) do
    "unknown #{what} #{inspect(key)}#{meant(key, known, hint)}, " <>
      "the known ones are #{inspect(known)}"
  end

  @doc "The known name that was meant, in brackets; where none is alike, the hint."
  @spec meant(term(), [atom()], hint :: String.t()) :: String.t()
  def meant(key, [_ | _] = known, hint) when is_atom(key) do
    best = Enum.max_by(known, &alike(&1, key))
    if alike(best, key) >= @alike, do: " (did you mean #{inspect(best)}?)", else: hint
  end

  def meant(_no_atom, _known, hint), do: hint

  defp alike(a, b), do: String.jaro_distance(Atom.to_string(a), Atom.to_string(b))
end
