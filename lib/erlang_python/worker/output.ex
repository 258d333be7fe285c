defmodule ErlangPython.Worker.Output do
  @moduledoc false
  # What a worker writes to its stdout and stderr: split into lines, bounded, the last of them kept for
  # the error that its end may need (pure).

  # A line without an end is cut here, so that a worker that prints rubbish takes no memory.
  @max_line 8_192
  @kept 25
  # A packet of the port's has 64 KiB at most, which has fewer lines unless they are nearly empty. More
  # than these are left out: whoever takes them apart can do nothing else meanwhile.
  @max_lines 2_000

  # Of what is left out, this much of the end stays.
  @tail @max_line

  defstruct partial: "", last: :queue.new(), count: 0, skipped: 0

  @type t :: %__MODULE__{
          partial: binary(),
          last: :queue.queue(String.t()),
          count: non_neg_integer(),
          skipped: non_neg_integer()
        }

  @spec new() :: t()
  def new, do: %__MODULE__{}

  @doc """
  Takes bytes from the port and gives the lines they complete, as valid UTF-8. Who is `behind?` with
  earlier ones gets none; a line says later how much was left out.
  """
  @spec add(t(), binary(), behind? :: boolean()) :: {[String.t()], t()}
  def add(output, bytes, behind? \\ false)

  def add(output, bytes, true), do: {[], skip(output, output.partial <> bytes)}

  def add(%{skipped: 0} = output, bytes, false) do
    {lines, partial} = split(output.partial <> bytes, [], @max_lines)
    {lines, lines |> Enum.reduce(output, &keep/2) |> skip(partial)}
  end

  def add(%{skipped: skipped} = output, bytes, false) do
    {lines, output} = add(%{output | skipped: 0}, bytes, false)
    {["[#{skipped} bytes left out: more than could be logged]" | lines], output}
  end

  defp skip(output, unseen) do
    tail = binary_part(unseen, byte_size(unseen), -min(byte_size(unseen), @tail))
    skipped = output.skipped + byte_size(unseen) - byte_size(tail)
    %{output | partial: :binary.copy(tail), skipped: skipped}
  end

  @doc "Gives what has not been given yet, an unfinished line included."
  @spec finish(t()) :: {[String.t()], t()}
  def finish(%{partial: "", skipped: 0} = output), do: {[], output}
  def finish(output), do: add(output, "\n")

  @doc "The last lines, an unfinished one included."
  @spec last(t()) :: [String.t()]
  def last(output) do
    {lines, partial} = split(output.partial, [], @tail)
    unfinished = if partial == "", do: [], else: [text(partial)]
    (lines ++ unfinished) |> Enum.reduce(output, &keep/2) |> Map.fetch!(:last) |> :queue.to_list()
  end

  defp split(bytes, lines, 0), do: {Enum.reverse(lines), bytes}

  defp split(bytes, lines, left) do
    case :binary.split(bytes, "\n") do
      [line, rest] ->
        split(rest, [line |> String.trim_trailing("\r") |> text() | lines], left - 1)

      [partial] ->
        cut(partial, lines)
    end
  end

  defp cut(<<line::binary-size(@max_line), rest::binary>>, lines),
    do: cut(rest, [text(line) | lines])

  defp cut(partial, lines), do: {Enum.reverse(lines), partial}

  # The C functions that faulthandler shows since Python 3.14: they would leave no room for Python's lines.
  defp keep("Current thread's C stack trace" <> _, output), do: output
  defp keep("  Binary file " <> _, output), do: output

  defp keep(line, %{count: @kept} = output),
    do: %{output | last: :queue.in(line, :queue.drop(output.last))}

  defp keep(line, output),
    do: %{output | last: :queue.in(line, output.last), count: output.count + 1}

  # Rubbish bytes would make Logger fail: they are shown as "?" marks of Unicode.
  defp text(bytes) do
    if String.valid?(bytes),
      do: :binary.copy(bytes),
      else: bytes |> String.chunk(:valid) |> Enum.map_join(&valid/1)
  end

  defp valid(chunk), do: if(String.valid?(chunk), do: chunk, else: "\uFFFD")
end
