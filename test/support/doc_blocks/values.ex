defmodule ErlangPython.DocBlocks.Values do
  @moduledoc false
  # What a block says that its parts give (pure).

  @prompt ~r/^(iex|\.\.\.|\d+)> ?/

  @doc """
  Splits code where a value is expected, into pairs of code and expected text; the text of the
  last may be nil.
  """
  @spec split(String.t()) :: [{String.t(), String.t() | nil}]
  def split(code) do
    prompts? = code =~ @prompt

    code
    |> String.split("\n")
    |> Enum.map(&line(&1, prompts?))
    |> Enum.chunk_while({[], []}, &chunk/2, &{:cont, pair(&1), nil})
    |> Enum.reject(fn {code, _expected} -> code == "" end)
  end

  defp line("#=> " <> text, _prompts?), do: {:expected, text}
  defp line("#   " <> text, false), do: {:more, text}
  defp line(text, false), do: {:code, text}

  defp line(text, true) do
    if text =~ @prompt or text == "",
      do: {:code, String.replace(text, @prompt, "")},
      else: {:expected, text}
  end

  # `#   ` goes on with an expected value; elsewhere it is a comment.
  defp chunk({:more, text}, {code, []}), do: {:cont, {["#   " <> text | code], []}}
  defp chunk({:more, text}, {code, expected}), do: {:cont, {code, [text | expected]}}
  defp chunk({:expected, text}, {code, expected}), do: {:cont, {code, [text | expected]}}
  defp chunk({:code, text}, {code, []}), do: {:cont, {[text | code], []}}
  defp chunk({:code, text}, full), do: {:cont, pair(full), {[text], []}}

  defp pair({code, expected}),
    do: {code |> join() |> String.trim(), if(expected != [], do: join(expected))}

  defp join(lines), do: lines |> Enum.reverse() |> Enum.join("\n")

  @doc "Is it this text, where `...` stands for any?"
  @spec check_text!(String.t(), String.t(), String.t()) :: :ok
  def check_text!(expected, text, what) do
    pattern = expected |> spaces() |> String.split("...") |> Enum.map_join(".*", &Regex.escape/1)
    if spaces(text) =~ ~r/\A#{pattern}\z/s, do: :ok, else: differ!(what, text, expected)
  end

  @spec differ!(String.t(), String.t(), String.t()) :: no_return()
  def differ!(what, text, expected), do: raise("#{what} is\n\n#{text}\n\nand not\n\n#{expected}")

  # Where a value is broken into lines is the page's choice.
  defp spaces(text), do: text |> String.split() |> Enum.join(" ")
end
