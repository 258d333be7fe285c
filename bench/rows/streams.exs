defmodule Bench.Rows.Streams do
  @moduledoc false
  # How many small items does a stream bring in a second, when does the first one come, and what does a
  # reader hold that is slower than Python?

  @behaviour Bench.Row

  alias Bench.{Baseline, Clock, Pool, ProcessInfo, Result, Rounds, Stats}

  @rounds %{full: 7, quick: 2}
  @items %{full: 1_000_000, quick: 100_000}
  @times %{full: 1_000, quick: 200}
  # At one millisecond each.
  @slow_items %{full: 4_000, quick: 600}

  @impl true
  def run(length) do
    push_pull = Baseline.start("push_pull")
    {items, times} = {@items[length], @times[length]}

    # One worker, so that both wake the same one: open streams would be spread over several.
    {rounds, memory} =
      Pool.with_pool(:streams, [workers: 1], fn ->
        rounds =
          Rounds.run(@rounds[length],
            stream: fn -> items_per_second(items) end,
            push_pull: fn -> hd(Baseline.ask(push_pull, [:items, items])) end,
            first: fn -> Clock.times(times, &first/0) end,
            call: fn -> Clock.times(times, &call/0) end
          )

        {rounds, slow_reader(@slow_items[length])}
      end)

    Baseline.stop(push_pull)
    results(rounds, memory, items)
  end

  defp results(rounds, memory, items) do
    [first, call] = for name <- [:first, :call], do: Enum.map(rounds[name], &Stats.median/1)
    what = "items of a stream of #{items} small integers"

    [
      Result.compare(what, :calls, rounds.stream, {"pyzmq PUSH to PULL", rounds.push_pull},
        target: {:at_least, 1.0}
      ),
      Result.figure("the same, alone", :calls, rounds.stream, {:at_least, 600_000}),
      Result.compare("first item of a stream, p50", :time, first, {"a call", call},
        target: {:at_most, 1.5}
      ),
      Result.figure(
        "growth of a reader that takes 1 ms per item",
        :bytes,
        memory,
        {:at_most, 2.0e6}
      )
    ]
  end

  defp items_per_second(items) do
    elapsed =
      Clock.time(fn ->
        ^items = :builtins |> ErlangPython.stream(:range, [items], pool: :streams) |> Enum.count()
      end)

    items / elapsed * 1.0e9
  end

  # Until the item is there, not until the stream is closed: that comes when the process of the round ends.
  defp first do
    :itertools
    |> ErlangPython.stream(:count, [0], pool: :streams)
    |> Enumerable.reduce({:cont, nil}, fn 0, _acc -> {:suspend, 0} end)
  end

  defp call, do: Pool.call!(:streams, :operator, :index, [0])

  # Of the BEAM and of the worker, between the first tenth and the end: what Python makes
  # would be a hundred times as much.
  defp slow_reader(items) do
    workers = ErlangPython.Pool.workers(:streams)

    {_count, sizes} =
      "('x' * 10_000 for n in range(10**9))"
      |> ErlangPython.stream_eval(%{}, pool: :streams)
      |> Stream.take(items)
      |> Enum.reduce({0, []}, fn _item, {count, sizes} ->
        # The row is about a reader that takes so long.
        Process.sleep(1)
        at? = rem(count, div(items, 10)) == 0 and count > 0
        {count + 1, if(at?, do: [size(workers) | sizes], else: sizes)}
      end)

    [Enum.max(sizes) - List.last(sizes)]
  end

  defp size(workers) do
    :erlang.garbage_collect()
    python = for worker <- workers, ProcessInfo.available?(), do: ProcessInfo.pss(worker.os_pid)
    :erlang.memory(:total) + Enum.sum(python)
  end
end
