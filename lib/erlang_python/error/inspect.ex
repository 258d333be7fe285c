defimpl Inspect, for: ErlangPython.Error do
  # For shells, notebooks and reports: what it is, its text with real line breaks, and the place. `Exception.message/1` has
  # all that Python prints, `structs: false` all fields.

  import Inspect.Algebra

  def inspect(error, opts) do
    lines =
      for line <- text(error, opts.printable_limit) ++ place(error), do: concat(line(), line)

    head = "#ErlangPython.Error<#{kind(error)}, executed: #{Kernel.inspect(error.executed)}"
    concat([head, nest(concat(lines), 2), ">"])
  end

  defp kind(%{kind: kind, type: nil}), do: Kernel.inspect(kind)
  defp kind(%{kind: kind, type: type}), do: "#{Kernel.inspect(kind)} (#{type})"

  defp text(error, limit) do
    [error.message | error.notes]
    |> Enum.join("\n")
    |> cut(limit)
    |> String.split("\n", trim: true)
  end

  defp cut(text, :infinity), do: text

  defp cut(text, limit) do
    case String.split_at(text, limit) do
      {whole, ""} -> whole
      {beginning, _rest} -> beginning <> "..."
    end
  end

  defp place(%{traceback: []}), do: []

  defp place(%{traceback: frames}) do
    %{file: file, line: line} = List.last(frames)
    ["(#{file}:#{line})"]
  end
end
