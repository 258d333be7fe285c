defmodule ErlangPython.Env.RequirementsFile do
  @moduledoc false
  # A requirements.txt with those that it names. The installer reads them; here their texts tell one environment from another.

  alias ErlangPython.Env.Problem
  alias ErlangPython.Error

  @doc "The texts of the file and of those that it names, each once."
  @spec read(Path.t()) :: {:ok, [String.t()]} | {:error, Error.t()}
  def read(path), do: read([path], MapSet.new(), [])

  defp read([], _seen, texts), do: {:ok, Enum.reverse(texts)}

  defp read([path | paths], seen, texts) do
    file = Path.expand(path)

    if file in seen do
      read(paths, seen, texts)
    else
      case File.read(file) do
        {:ok, text} ->
          read(named(text, Path.dirname(file)) ++ paths, MapSet.put(seen, file), [text | texts])

        {:error, posix} ->
          Problem.unreadable(path, posix)
      end
    end
  end

  # A name with a variable in it, or an address, is the installer's to read.
  defp named(text, folder) do
    line = ~r/^[ \t]*(?:-r|-c|--requirements?|--constraints?)[ \t=]*([^\s#$]+)[ \t]*(?:#.*)?\r?$/m

    for [name] <- Regex.scan(line, text, capture: :all_but_first),
        not (name =~ ~r/^[a-z][a-z0-9+.-]+:/i),
        do: Path.expand(name, folder)
  end

  @doc "Does a text name packages, or wheels, by their place on this machine?"
  @spec paths?(String.t()) :: boolean()
  def paths?(text), do: text =~ ~r/^[ \t]*(?:-e|--editable|-f|--find-links|\.|\/)|file:/m
end
