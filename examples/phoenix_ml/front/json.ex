defmodule PhoenixMl.Front.JSON do
  @moduledoc false
  # Elixir 1.14 has no JSON, and Phoenix's own comes with Phoenix. Python has one to read with; what is written is flat
  # enough for a few lines, and the health check must not need a Python.

  @pool :json

  @spec pool() :: atom()
  def pool, do: @pool

  @doc "A text as terms, objects as maps. Python's own words say what is wrong with it."
  @spec decode(binary()) ::
          {:ok, term()} | {:error, {:invalid_json, String.t()} | ErlangPython.Error.t()}
  def decode(text) do
    with {:error, %{kind: :python} = error} <-
           ErlangPython.call(:json, :loads, [text], pool: @pool),
         do: {:error, {:invalid_json, error.message}}
  end

  @spec encode(term()) :: iodata()
  def encode(map) when is_map(map) do
    pairs = for {key, value} <- map, do: [encode(to_string(key)), ":", encode(value)]
    ["{", Enum.intersperse(pairs, ","), "}"]
  end

  def encode(list) when is_list(list),
    do: ["[", list |> Enum.map(&encode/1) |> Enum.intersperse(","), "]"]

  def encode(text) when is_binary(text),
    do: [?", String.replace(text, ~r/["\\\x00-\x1f]/u, &escape/1), ?"]

  def encode(other) when is_number(other) or is_boolean(other) or other == nil, do: scalar(other)

  defp scalar(nil), do: "null"
  defp scalar(other), do: to_string(other)

  defp escape("\""), do: "\\\""
  defp escape("\\"), do: "\\\\"

  defp escape(<<control>>),
    do: "\\u" <> (control |> Integer.to_string(16) |> String.pad_leading(4, "0"))
end
