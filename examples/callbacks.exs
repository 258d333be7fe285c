# What calls in both directions are good for: mix run examples/callbacks.exs
#
# A step that does not do what it says ends this with a MatchError.

defmodule Walk do
  # A tree of folders and files, walked by Python and Elixir in turn.
  @tree %{
    "lib" => %{"a.ex" => 10, "b" => %{"c.ex" => 20, "d" => %{"e.ex" => 30}}},
    "mix.exs" => 5
  }

  def tree, do: @tree

  def size(%{} = folder), do: folder |> Map.values() |> Enum.map(&size/1) |> Enum.sum()
  def size(lines), do: lines
end

{:ok, _pool} = ErlangPython.Pool.start_link(name: :example, workers: 1)

run = fn code, bindings ->
  {microseconds, value} = :timer.tc(fn -> ErlangPython.run!(code, bindings, pool: :example) end)

  {value, div(microseconds, 1_000)}
end

IO.puts("Fan-out: Python asks ten processes at once, each of which takes 100 ms.")

:ok =
  ErlangPython.register(:ask, fn names ->
    names
    |> Task.async_stream(
      fn name ->
        Process.sleep(100)
        "#{name}: #{inspect(self())}"
      end,
      max_concurrency: length(names)
    )
    |> Enum.map(fn {:ok, answer} -> answer end)
  end)

names = Enum.map(1..10, &"process #{&1}")
{answers, ms} = run.("erlang.ask(names)", %{names: names})
10 = length(answers)
IO.puts("  one callback that starts ten tasks: #{ms} ms")

:ok =
  ErlangPython.register(:ask_one, fn name ->
    Process.sleep(100)
    name
  end)

{^names, ms} =
  run.(
    """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(erlang.ask_one, names))
    answers
    """,
    %{names: names}
  )

IO.puts("  ten callbacks from ten threads: #{ms} ms")

{^names, ms} = run.("[erlang.ask_one(name) for name in names]", %{names: names})
IO.puts("  ten callbacks one after another: #{ms} ms")

IO.puts("\nRecursion: Elixir opens a folder, Python adds up what is in it, in one worker.")

:ok =
  ErlangPython.register(:open_folder, fn
    %{} = folder -> ErlangPython.call!(:__main__, :lines, [folder], pool: :example)
    lines -> lines
  end)

:ok =
  ErlangPython.exec(
    """
    def lines(folder):
        return sum(erlang.open_folder(entry) for entry in folder.values())
    """,
    %{},
    pool: :example
  )

{65, ms} = run.("lines(tree)", %{tree: Walk.tree()})
65 = Walk.size(Walk.tree())
IO.puts("  65 lines in 4 folders: #{ms} ms")

IO.puts("\nProgress: a long job tells of each step.")

{total, _ms} =
  run.(
    """
    total = 0
    for step in range(1, 6):
        total += sum(range(step * 100_000))
        erlang.send(listener, ("progress", step * 20))
    total
    """,
    %{listener: self()}
  )

for percent <- [20, 40, 60, 80, 100] do
  receive do
    {"progress", ^percent} -> IO.puts("  #{percent} %")
  end
end

true = is_integer(total)
:ok = ErlangPython.Pool.stop(:example)
IO.puts("\nDone.")
