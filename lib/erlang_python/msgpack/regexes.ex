defmodule ErlangPython.MessagePack.Regexes do
  @moduledoc false
  # The flags that Elixir's and Python's regular expressions share, `imsux`. Newer Elixirs
  # keep options as a list of `:re` options, older ones as the letters themselves.

  @flags [?i, ?m, ?s, ?u, ?x]
  @letters %{caseless: ?i, multiline: ?m, dotall: ?s, unicode: ?u, extended: ?x}
  # What `s` and `u` bring along in Elixir.
  @implied [:ucp, {:newline, :anycrlf}]

  @spec flags(Regex.t()) :: {:ok, String.t()} | :error
  def flags(regex), do: regex |> Regex.opts() |> letters() |> shared()

  defp letters(opts), do: Enum.flat_map(List.wrap(opts) -- @implied, &letter/1)

  defp letter(letters) when is_binary(letters), do: :binary.bin_to_list(letters)
  defp letter(option), do: [Map.get(@letters, option)]

  defp shared(letters) do
    if letters -- @flags == [],
      do: {:ok, letters |> Enum.sort() |> List.to_string()},
      else: :error
  end

  @spec compile(term(), term()) :: {:ok, Regex.t()} | :error
  def compile(pattern, flags) when is_binary(pattern) and is_binary(flags) do
    with true <- String.valid?(pattern),
         [] <- :binary.bin_to_list(flags) -- @flags,
         {:ok, regex} <- Regex.compile(pattern, flags) do
      {:ok, regex}
    else
      _invalid -> :error
    end
  end

  def compile(_pattern, _flags), do: :error
end
