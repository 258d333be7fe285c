defmodule Bench.Rows.Callbacks do
  @moduledoc false
  # What does a call from Python to Elixir cost, from where it may come, and one within the other?

  @behaviour Bench.Row

  alias Bench.{Clock, Pool, Result, Rounds, Stats}

  @rounds %{full: 15, quick: 2}
  @times %{full: 1_000, quick: 200}
  @levels 10

  # Each gives the seconds of every call.
  @python """
  import asyncio, threading, time

  def timed(times):
      double, taken = erlang.bench_double, []
      for n in range(times):
          start = time.perf_counter()
          double(n)
          taken.append(time.perf_counter() - start)
      return taken

  def in_a_thread(times):
      result = []
      thread = threading.Thread(target=lambda: result.extend(timed(times)))
      thread.start()
      thread.join()
      return result

  async def in_a_coroutine(times):
      taken = []
      for n in range(times):
          start = time.perf_counter()
          await erlang.acall("bench_double", n)
          taken.append(time.perf_counter() - start)
      return taken

  def down(level):
      return erlang.bench_down(level) if level else 0
  """

  @impl true
  def run(length) do
    ErlangPython.register(:bench_double, fn n -> 2 * n end)

    ErlangPython.register(:bench_down, fn level ->
      Pool.call!(:callbacks, :__main__, :down, [level - 1])
    end)

    times = @times[length]

    rounds =
      Pool.with_pool(:callbacks, [workers: 1, preload: [{:code, @python}]], fn ->
        Rounds.run(@rounds[length],
          call: fn ->
            Clock.times(times, fn -> Pool.call!(:callbacks, :operator, :index, [1]) end)
          end,
          main: fn -> callbacks(:timed, times) end,
          thread: fn -> callbacks(:in_a_thread, times) end,
          coroutine: fn -> callbacks(:in_a_coroutine, times) end,
          nested: fn ->
            Clock.times(div(times, 10), fn ->
              Pool.call!(:callbacks, :__main__, :down, [@levels])
            end)
          end
        )
      end)

    for name <- [:bench_double, :bench_down], do: ErlangPython.unregister(name)
    results(rounds)
  end

  # In nanoseconds, as `Clock.times/2` gives them.
  defp callbacks(function, times),
    do: for(s <- Pool.call!(:callbacks, :__main__, function, [times]), do: s * 1.0e9)

  defp results(rounds) do
    [call, main, thread, coroutine, nested] =
      for name <- [:call, :main, :thread, :coroutine, :nested],
          do: Enum.map(rounds[name], &Stats.median/1)

    apart = for {call, main} <- Enum.zip(call, main), do: @levels * (call + main)

    [
      Result.compare("callback p50 from the main thread", :time, main, {"a call", call},
        target: {:at_most, 1.3}
      ),
      Result.compare("callback p50 from another thread", :time, thread, {"a call", call},
        target: {:at_most, 1.5}
      ),
      Result.compare("callback p50 from a coroutine", :time, coroutine, {"a call", call},
        target: {:at_most, 2.0}
      ),
      Result.compare(
        "#{@levels} levels of nesting",
        :time,
        nested,
        {"#{@levels} calls and #{@levels} callbacks", apart},
        target: {:at_most, 1.2}
      )
    ]
  end
end
