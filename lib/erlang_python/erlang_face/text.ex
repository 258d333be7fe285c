defmodule ErlangPython.ErlangFace.Text do
  @moduledoc false
  # Names and code as Erlang writes them (pure).

  @spec name(term()) :: {:ok, String.t()} | {:error, :invalid_args}
  def name(empty) when empty in [:"", "", []], do: {:error, :invalid_args}
  def name(name) when is_atom(name), do: {:ok, Atom.to_string(name)}
  def name(name), do: code(name)

  @spec code(term()) :: {:ok, String.t()} | {:error, :invalid_args}
  def code(code) when is_binary(code) or is_list(code) do
    case :unicode.characters_to_binary(code) do
      text when is_binary(text) -> {:ok, text}
      _invalid -> {:error, :invalid_args}
    end
  rescue
    ArgumentError -> {:error, :invalid_args}
  end

  def code(_other), do: {:error, :invalid_args}
end
