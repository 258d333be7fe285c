defmodule ErlangPython.RandomMix.Report do
  @moduledoc false
  # Shows the state of a pool and of the processes that use it when a plan takes so long that it may hang.

  import ErlangPython.Pool.Pending.Row, only: [row: 1, row: 2]

  alias ErlangPython.Callbacks.Running
  alias ErlangPython.Pool
  alias ErlangPython.Pool.{Handle, Slots}
  alias ErlangPython.RandomMix.Leftovers

  # A part of the time after which the calls of a plan give up.
  @suspicious 20_000

  @doc "Runs the function, and shows what hangs, and where, if it does not return in time."
  def watched(pool, plan, fun) do
    {:ok, watch} =
      :timer.apply_after(@suspicious, __MODULE__, :show_state, [
        pool,
        plan,
        Process.group_leader()
      ])

    try do
      fun.()
    after
      :timer.cancel(watch)
    end
  end

  @doc false
  def show_state(pool, plan, leader) do
    {:ok, handle} = Handle.fetch(pool)
    rows = fn table -> handle |> Map.fetch!(table) |> :ets.tab2list() end

    slots =
      for slot <- 1..Slots.count(handle)//1 do
        %{
          slot: slot,
          in_flight: Slots.in_flight(handle, slot),
          window: Slots.window(handle, slot),
          beside: Slots.beside(handle, slot),
          callbacks: Slots.callbacks(handle, slot),
          parents: Running.parents(handle, slot),
          stacks: Pool.stacks(pool, slot)
        }
      end

    processes = for pid <- Leftovers.led_by(leader), do: process(pid), uniq: true

    state = %{
      plan: plan,
      slots: slots,
      pending: Enum.map(rows.(:pending), &without_wire/1),
      queue: rows.(:queue),
      streams: rows.(:streams),
      contexts: rows.(:contexts),
      running: Enum.map(:ets.tab2list(Running), &callback/1),
      processes: processes
    }

    # Not by the captured group leader: for whoever runs the test.
    IO.puts(:standard_error, inspect(state, limit: :infinity, printable_limit: 200, pretty: true))
  end

  # The wire as its kind only.
  defp without_wire(row(wire: wire) = row) do
    case wire do
      {kind, _wire} -> row(row, wire: kind)
      wire when is_atom(wire) -> row
      _iodata -> row(row, wire: :wire)
    end
  end

  defp callback({pid, parent, _pool, origin}),
    do: {pid, parent, Map.take(origin, [:slot, :generation, :channel, :context, :callers])}

  # Those at rest look all the same.
  defp process(pid) do
    with [{:current_stacktrace, stack}, {:messages, messages}, {:dictionary, dictionary}] <-
           Process.info(pid, [:current_stacktrace, :messages, :dictionary]) do
      calls = for {module, function, arity, _location} <- stack, do: {module, function, arity}

      if match?([{_module, :loop, _arity} | _], calls) and messages == [],
        do: hd(calls),
        else: {pid, calls, messages, dictionary[:"$callers"]}
    end
  end
end
