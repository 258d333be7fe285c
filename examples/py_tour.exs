# The Erlang face from Elixir: `:py` gives tuples and reasons, as Erlang libraries do.
# mix run examples/py_tour.exs
#
# A step that does not do what it says ends this with a MatchError.

Logger.configure(level: :warning)
Application.put_env(:erlang_python, :num_workers, 2)

show = fn title, value -> IO.puts("  #{String.pad_trailing(title, 34)}#{inspect(value)}") end

IO.puts("Calls")
{:ok, root} = :py.call(:math, :sqrt, [16])
show.("math.sqrt(16)", root)
{:ok, text} = :py.call(:json, :dumps, [%{b: 1, a: [true, nil]}], %{sort_keys: true})
show.("json.dumps, keys sorted", text)

{:ok, words} =
  :py.eval("sorted(set(text.split()), key=len)", %{text: "to be or not to be that is it"})

show.("words by length", words |> Enum.map(&String.length/1))
{:ok, none} = :py.eval("None")
show.("None", none)

IO.puts("\nErrors")
{:error, {type, message}} = :py.call(:operator, :truediv, [1, 0])
show.("operator.truediv(1, 0)", {type, message})
{:error, reason} = :py.eval("__import__('time').sleep(60)", %{}, 100)
show.("sleep(60) with a timeout of 100", reason)
{:error, reason} = :py.call(:math, :sqrt, 16)
show.("arguments that are no list", reason)

IO.puts("\nPython calls Elixir")
:ok = :py.register_function(:upcase, fn [word] -> String.upcase(word) end)
:ok = :py.register_function(:total, Enum, :sum)
{:ok, words} = :py.eval("[erlang.upcase(w) for w in ['a', 'b']]")
show.("a function", words)
{:ok, total} = :py.eval("erlang.total(1, 2, 3)")
show.("a module's function", total)

IO.puts("\nStreams")
{:ok, squares} = :py.stream_eval("(n * n for n in range(5))")
show.("a generator, whole", squares)
{:ok, ref} = :py.stream_start(:builtins, :iter, [["tick", "tock"]])

messages =
  for _ <- 1..3 do
    receive do
      {:py_stream, ^ref, event} -> event
    end
  end

show.("as messages", messages)

IO.puts("\nNames that stay")

{:ok, mean} =
  :py.with_context(fn ->
    :ok = :py.exec("import statistics\nvalues = [2, 4, 9]")
    :py.eval("statistics.mean(values)")
  end)

show.("in a context", mean)
{:error, {:NameError, _message}} = :py.eval("values")
show.("and after it", "NameError")

IO.puts("\nShared state")
:ok = :py.state_store(:user, {:id, 7, self()})
{:ok, {:id, 7, _pid} = user} = :py.state_fetch(:user)
show.("a term as it was", user)
{:ok, _} = :py.eval("[erlang.state_incr('hits') for _ in range(10)]")
show.("a counter", :py.state_incr("hits"))
:ok = :py.state_clear()

IO.puts("\nAll workers")
{:ok, results} = :py.parallel(for n <- [9, 16, "x"], do: {:math, :sqrt, [n]})
show.("in parallel", Enum.map(results, &elem(&1, 0)))
[{:ok, pid}, {:ok, other}] = :py_pool.broadcast({:call, :os, :getpid, []})
true = pid != other
show.("two processes", pid != other)
{:ok, stats} = :py.memory_stats()
show.("memory statistics", stats |> Map.keys() |> Enum.sort())
show.("workers of the pool", :py_pool.get_stats().num_workers)
