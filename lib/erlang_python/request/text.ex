defmodule ErlangPython.Request.Text do
  @moduledoc false
  # Names and code as Elixir callers give them, checked (pure).

  @doc "A name as text; `what` says in errors whose."
  @spec name!(atom(), term()) :: String.t()
  def name!(:name, empty) when empty in ["", :""],
    do: raise(ArgumentError, "a name has at least one character")

  def name!(what, name) when is_binary(name), do: utf8!(what, name)
  def name!(_what, name) when is_atom(name) and not is_nil(name), do: Atom.to_string(name)

  def name!(:function, args) when is_list(args) do
    raise ArgumentError,
          "expected the function as an atom or string, got: #{inspect(args)} " <>
            "(the module comes first; that of Python's own functions is :builtins)"
  end

  def name!(what, name) do
    raise ArgumentError,
          "expected the #{what} as an atom or string, got: #{inspect(name)}#{quotes(name)}"
  end

  @spec code!(term()) :: String.t()
  def code!(code) when is_binary(code), do: utf8!(:code, code)

  def code!(code) do
    raise ArgumentError,
          "expected Python code as a string, got: #{inspect(code)}#{quotes(code)}"
  end

  defp quotes([_ | _] = list) do
    if List.ascii_printable?(list), do: " (a charlist: a string has double quotes)", else: ""
  end

  defp quotes(_other), do: ""

  # Another binary would arrive as `bytes`.
  defp utf8!(what, text) do
    if String.valid?(text),
      do: text,
      else: raise(ArgumentError, "expected the #{what} as UTF-8 text, got: #{inspect(text)}")
  end
end
