# The benchmarks, each beside its baseline in the same run. docs/performance.md explains the rows.
#
#     make bench                                    all rows
#     make bench ARGS="latency memory"              some rows
#     make bench ARGS=--quick                       short rounds: does it run?
#     make bench ARGS="--out docs/performance.md"   the results into that page, too

for file <- ~w(stats clock rounds baseline machine process_info pool zmtp_echo result report row) do
  Code.require_file("support/#{file}.exs", __DIR__)
end

# In the order of the table.
rows =
  ~w(latency throughput streams callbacks coroutines router cores binaries collections start memory recovery interrupt idle)

modules =
  for row <- rows do
    [{module, _bytecode}] = Code.require_file("rows/#{row}.exs", __DIR__)
    {row, module}
  end

defmodule Bench.Run do
  alias Bench.{Machine, Report}

  @switches [quick: :boolean, out: :string]

  def main(arguments, rows) do
    {options, names, invalid} = OptionParser.parse(arguments, strict: @switches)
    unknown = names -- Enum.map(rows, &elem(&1, 0))

    if invalid != [] or unknown != [] do
      usage(Enum.map(invalid, &elem(&1, 0)) ++ unknown, rows)
    else
      chosen = if names == [], do: rows, else: Enum.filter(rows, fn {row, _} -> row in names end)
      run(chosen, options, Enum.join(["make bench" | args(arguments)], " "))
    end
  end

  defp args([]), do: []
  defp args(arguments), do: [~s(ARGS="#{Enum.join(arguments, " ")}")]

  defp usage(wrong, rows) do
    names = Enum.map_join(rows, " ", &elem(&1, 0))
    IO.puts(:stderr, "unknown: #{Enum.join(wrong, " ")}")
    IO.puts(:stderr, "usage: make bench ARGS=\"[--quick] [--out FILE] [ROW...]\"; rows: #{names}")
    System.halt(2)
  end

  defp run(rows, options, command) do
    # What workers say as they are killed on purpose.
    Logger.configure(level: :none)
    length = if options[:quick], do: :quick, else: :full
    head = Report.head(command, Machine.describe())
    IO.write(head)
    results = Enum.flat_map(rows, &row(&1, length))
    table = Report.table(results)
    IO.write(["\n", table])
    if options[:out], do: Report.write(options[:out], [head, table])
  end

  defp row({name, module}, length) do
    IO.puts("#{name} ...")
    results = module.run(length)
    results |> Enum.map(&Report.line/1) |> IO.write()
    results
  end
end

Bench.Run.main(System.argv(), modules)
