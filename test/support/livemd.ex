defmodule ErlangPython.Livemd do
  @moduledoc false
  # Runs a notebook of Livebook's: its Elixir cells in order, with this checkout in the place of what `Mix.install` would
  # fetch, and compares what each prints and gives with the outputs that stand below it in the file.

  alias ErlangPython.Notebook

  @output ~s(<!-- livebook:{"output":true} -->)

  @type cell :: %{code: String.t(), line: pos_integer(), outputs: [String.t()]}

  @doc "The values of the cells. Raises at the first that does not give what the file says."
  @spec run(Path.t()) :: [term()]
  def run(path) do
    {values, _notebook} =
      path
      |> File.read!()
      |> parse()
      |> Enum.map_reduce(Notebook.new(), fn cell, notebook ->
        {{value, notebook}, printed} =
          ExUnit.CaptureIO.with_io(fn ->
            Notebook.run(notebook, without_install(cell.code), file: "#{path}#cell:#{cell.line}")
          end)

        check!(cell, printed, value, path)
        {value, notebook}
      end)

    values
  end

  @spec parse(String.t()) :: [cell()]
  def parse(text),
    do: text |> String.split("\n") |> Enum.with_index(1) |> parse(nil, []) |> Enum.reverse()

  defp parse([], _marker, cells), do: cells

  defp parse([{"```" <> language, line} | rest], marker, cells) do
    {block, rest} = Enum.split_while(rest, fn {text, _line} -> text != "```" end)
    if rest == [], do: raise("the block in line #{line} has no end")
    block = Enum.map_join(block, "\n", fn {text, _line} -> text end)
    parse(tl(rest), nil, block(language, marker, block, line, cells))
  end

  defp parse([{"", _line} | rest], marker, cells), do: parse(rest, marker, cells)
  defp parse([{text, _line} | rest], _marker, cells), do: parse(rest, text, cells)

  defp block(_text, @output, output, _line, [cell | cells]),
    do: [%{cell | outputs: cell.outputs ++ [output]} | cells]

  defp block("elixir", _marker, code, line, cells),
    do: [%{code: code, line: line, outputs: []} | cells]

  defp block(_other, _marker, _code, _line, cells), do: cells

  defp without_install(code) do
    code
    |> Notebook.readable()
    |> Code.string_to_quoted!()
    |> Macro.prewalk(fn
      {{:., _, [{:__aliases__, _, [:Mix]}, :install]}, _, _arguments} -> :ok
      other -> other
    end)
  end

  defp check!(%{outputs: []}, _printed, _value, _path), do: :ok

  defp check!(cell, printed, value, path) do
    printed = if printed == "", do: [], else: [String.trim_trailing(printed, "\n")]
    given = printed ++ shown(value)

    if given != cell.outputs do
      raise "#{path}, line #{cell.line}: the cell gives\n\n#{Enum.join(given, "\n\n")}\n\n" <>
              "and not\n\n#{Enum.join(cell.outputs, "\n\n")}"
    end
  end

  # What Kino shows is not written into notebooks.
  defp shown({:kino, _type, _content}), do: []
  defp shown(value), do: [inspect(value, pretty: true)]
end
