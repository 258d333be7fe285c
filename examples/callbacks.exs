# Python that calls back: `mix run examples/callbacks.exs`.

Logger.configure(level: :warning)
{:ok, _pool} = ErlangPython.Pool.start_link(name: :callers, workers: 2)
run = fn code, bindings -> ErlangPython.run!(code, bindings, pool: :callers) end

# 1. Fan-out from Python to BEAM processes: ten callbacks of 100 ms, from ten threads, in about 100 ms.
ErlangPython.register(:fetch, fn url ->
  Process.sleep(100)
  "contents of #{url}"
end)

fan_out = """
import time
from concurrent.futures import ThreadPoolExecutor

start = time.perf_counter()
with ThreadPoolExecutor(10) as threads:
    pages = list(threads.map(erlang.fetch, [f"/page/{n}" for n in range(10)]))
(pages[-1], round((time.perf_counter() - start) * 1000))
"""

{page, ms} = run.(fan_out, %{})
IO.puts("ten callbacks of 100 ms took #{ms} ms; the last one: #{page}")

# The same from coroutines, in one thread.
coroutines = """
import asyncio
pages = await asyncio.gather(*(erlang.acall("fetch", f"/page/{n}") for n in range(10)))
len(pages)
"""

IO.puts("from coroutines: #{run.(coroutines, %{})} pages")

# 2. A walk that both languages take turns at: Elixir knows the folders, Python sizes them up.
folders = %{
  "" => ["lib", "test"],
  "lib" => ["lib/a", "lib/b"],
  "lib/a" => [],
  "lib/b" => ["lib/b/c"],
  "lib/b/c" => [],
  "test" => []
}

walk = """
def walk(folder, depth=0):
    inside = erlang.children(folder)                  # Python asks Elixir ...
    return [(folder, depth)] + [entry for child in inside for entry in erlang.descend(child, depth + 1)]
"""

for _ <- 1..2, do: run.(walk, %{})
{:ok, context} = ErlangPython.Context.open(pool: :callers)
ErlangPython.exec!(walk, %{}, context: context)
ErlangPython.register(:children, fn folder -> Map.fetch!(folders, folder) end)

# ... and Elixir asks Python, in the thread that waits for it.
ErlangPython.register(:descend, fn folder, depth ->
  ErlangPython.call!(:__main__, :walk, [folder, depth], context: context)
end)

for {folder, depth} <- ErlangPython.call!(:__main__, :walk, [""], context: context),
    do: IO.puts(String.duplicate("  ", depth) <> "#{folder}/")

ErlangPython.Context.close(context)

# 3. A long job that says how far it is.
reader = self()

job = """
total = 5
for done in range(1, total + 1):
    sum(range(200_000))                               # the work
    erlang.send(reader, ("progress", done, total))
"done"
"""

task = Task.async(fn -> run.(job, %{reader: reader}) end)

for _ <- 1..5 do
  receive do: ({"progress", done, total} -> IO.puts("#{done} of #{total}"))
end

IO.puts("the job is #{Task.await(task)}")
ErlangPython.Pool.stop(:callers)
