defmodule Bench.Report do
  @moduledoc false
  # The results as text: a Markdown table is readable in a terminal too, once its columns are aligned.

  alias Bench.Result

  @titles [
    "measured",
    "reached",
    "baseline, in the same run",
    "ratio (middle half)",
    "target",
    ""
  ]

  @spec head(String.t(), [{String.t(), String.t()}]) :: iodata()
  def head(command, machine) do
    [
      "Made by `#{command}`.\n\n",
      for({name, value} <- machine, do: "- #{name}: #{value}\n"),
      "\n"
    ]
  end

  @spec table([Result.t()]) :: iodata()
  def table(results), do: grid([@titles | Enum.map(results, &cells/1)])

  @doc "A Markdown table of texts, of which the first row are the titles."
  @spec grid([[String.t()]]) :: iodata()
  def grid(rows) do
    widths = rows |> Enum.zip_with(& &1) |> Enum.map(&longest/1)
    rule = for width <- widths, do: String.duplicate("-", width)
    for cells <- [hd(rows), rule | tl(rows)], do: row(cells, widths)
  end

  @begin "<!-- results -->\n"
  @finish "<!-- end of results -->\n"

  @doc "Writes a file, or, of a page that marks the place for results, only what stands there."
  @spec write(Path.t(), iodata()) :: :ok
  def write(path, text) do
    with {:ok, page} <- File.read(path),
         [before, rest] <- String.split(page, @begin, parts: 2),
         [_old, behind] <- String.split(rest, @finish, parts: 2) do
      File.write!(path, [before, @begin, "\n", text, "\n", @finish, behind])
    else
      _no_page -> File.write!(path, text)
    end
  end

  @doc "One result as soon as it is there."
  @spec line(Result.t()) :: iodata()
  def line(result) do
    [
      "  #{result.what}: #{result.reached}",
      optional("; ", result.against),
      optional("; ratio ", result.ratio),
      optional("; target ", result.target),
      optional(": ", result.verdict),
      "\n"
    ]
  end

  defp optional(_before, ""), do: ""
  defp optional(before, text), do: [before, text]

  defp cells(result) do
    [result.what, result.reached, result.against, result.ratio, result.target, result.verdict]
  end

  defp longest(texts), do: texts |> Enum.map(&String.length/1) |> Enum.max()

  defp row(cells, widths) do
    padded = Enum.zip_with(cells, widths, &String.pad_trailing/2)
    ["| ", Enum.intersperse(padded, " | "), " |\n"]
  end
end
