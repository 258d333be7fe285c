defmodule Bench.Rows.Callbacks do
  @moduledoc false
  # How long does Python wait for a function in Elixir, beside a call the other way? And what do levels of
  # calls within each other cost?

  @behaviour Bench.Row

  alias Bench.{Clock, Pool, Result, Rounds, Stats}

  @rounds %{full: 25, quick: 3}
  @calls %{full: 1_000, quick: 200}
  @levels 10

  @code """
  import erlang
  from threading import Thread
  from time import perf_counter_ns


  def times(count):
      times = []
      for _ in range(count):
          began = perf_counter_ns()
          erlang.call("bench_identity", 16)
          times.append(perf_counter_ns() - began)
      return times


  def times_in_thread(count):
      out = []
      thread = Thread(target=lambda: out.extend(times(count)))
      thread.start()
      thread.join()
      return out


  async def times_in_coroutine(count):
      times = []
      for _ in range(count):
          began = perf_counter_ns()
          await erlang.acall("bench_identity", 16)
          times.append(perf_counter_ns() - began)
      return times


  def walk(level):
      return erlang.call("bench_walk", level - 1)
  """

  @impl true
  def run(length) do
    calls = @calls[length]
    :ok = ErlangPython.register(:bench_identity, & &1)

    :ok =
      ErlangPython.register(:bench_walk, fn level ->
        if level == 0, do: 0, else: Pool.call!(:callbacks, :__main__, :walk, [level])
      end)

    rounds =
      Pool.with_pool(:callbacks, [workers: 2, preload: [{:code, @code}]], fn ->
        Rounds.run(@rounds[length],
          call: fn -> Clock.times(calls, fn -> call(:math, :sqrt, [16]) end) end,
          callback: fn -> call(:__main__, :times, [calls]) end,
          thread: fn -> call(:__main__, :times_in_thread, [calls]) end,
          coroutine: fn -> call(:__main__, :times_in_coroutine, [calls]) end,
          walk: fn ->
            Clock.times(div(calls, @levels), fn -> call(:__main__, :walk, [@levels]) end)
          end
        )
      end)

    Enum.each([:bench_identity, :bench_walk], &ErlangPython.unregister/1)
    results(rounds)
  end

  defp call(module, function, args), do: Pool.call!(:callbacks, module, function, args)

  defp results(rounds) do
    [call, callback, thread, coroutine, walk] =
      for name <- [:call, :callback, :thread, :coroutine, :walk],
          do: Enum.map(rounds[name], &Stats.median/1)

    sum = Enum.zip_with(call, callback, &(@levels * (&1 + &2)))
    against = {"call p50, one caller", call}

    [
      Result.compare("callback p50, from the main thread", :time, callback, against,
        target: {:at_most, 1.3}
      ),
      Result.compare("callback p50, from another thread", :time, thread, against,
        target: {:at_most, 1.5}
      ),
      Result.compare("callback p50, from a coroutine", :time, coroutine, against,
        target: {:at_most, 2.0}
      ),
      Result.compare(
        "#{@levels} levels of nesting p50",
        :time,
        walk,
        {"#{@levels} calls and #{@levels} callbacks", sum},
        target: {:at_most, 1.2}
      )
    ]
  end
end
