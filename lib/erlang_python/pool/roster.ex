defmodule ErlangPython.Pool.Roster do
  @moduledoc false
  # The workers of a pool by their slots, as its manager knows them (pure).
  #
  #     starting ──▶ ready ──▶ draining   gets no more requests; another takes its place when it has ended
  #      │    ▲        └─────▶ closing    as draining, but no other does
  #      ▼    │
  #     waiting                           has failed to start, and is to be started again

  alias ErlangPython.Pool.Slots

  @type phase :: :starting | :ready | :draining | :closing | :waiting

  @typedoc "`set_aside`: for a context. `launched` is in native monotonic time."
  @type entry :: %{
          slot: Slots.slot(),
          generation: pos_integer(),
          worker: pid() | nil,
          ref: reference() | nil,
          phase: phase(),
          set_aside: boolean(),
          launched: integer(),
          os_pid: pos_integer() | nil,
          hello: map() | nil
        }

  @type t :: %{optional(Slots.slot()) => entry()}

  @typedoc "A worker that takes requests."
  @type running :: {Slots.slot(), generation :: pos_integer()}

  @doc "`started` is an entry's `slot`, `generation`, `worker`, `ref` and `launched`."
  @spec put_started(t(), map()) :: t()
  def put_started(roster, %{slot: slot} = started) do
    entry = Map.merge(%{phase: :starting, set_aside: false, os_pid: nil, hello: nil}, started)
    Map.put(roster, slot, entry)
  end

  @spec put_ready(t(), Slots.slot(), os_pid :: pos_integer() | nil, hello :: map()) :: t()
  def put_ready(roster, slot, os_pid, hello),
    do: %{roster | slot => %{roster[slot] | phase: :ready, os_pid: os_pid, hello: hello}}

  @doc "Its process has ended, and the next is to be started later."
  @spec put_waiting(t(), Slots.slot()) :: t()
  def put_waiting(roster, slot) do
    entry = %{roster[slot] | phase: :waiting, worker: nil, ref: nil, os_pid: nil}
    %{roster | slot => entry}
  end

  @spec put_phase(t(), Slots.slot(), phase()) :: t()
  def put_phase(roster, slot, phase), do: put_in(roster[slot].phase, phase)

  @spec set_aside(t(), Slots.slot(), boolean()) :: t()
  def set_aside(roster, slot, aside?), do: put_in(roster[slot].set_aside, aside?)

  @doc "The entry of a slot, if this is still its generation."
  @spec fetch(t(), Slots.slot(), pos_integer()) :: {:ok, entry()} | :error
  def fetch(roster, slot, generation) do
    case roster do
      %{^slot => %{generation: ^generation} = entry} -> {:ok, entry}
      _another_or_none -> :error
    end
  end

  @doc "Whose process it was that a monitor has seen end."
  @spec monitored(t(), reference()) :: entry() | nil
  def monitored(roster, ref),
    do: Enum.find_value(roster, fn {_slot, entry} -> if entry.ref == ref, do: entry end)

  @spec any?(t(), [phase()]) :: boolean()
  def any?(roster, phases), do: Enum.any?(roster, fn {_slot, entry} -> entry.phase in phases end)

  @doc "Has each of a pool's `count` workers been ready, as far as it is still to be used?"
  @spec whole?(t(), count :: non_neg_integer()) :: boolean()
  def whole?(roster, count),
    do: Enum.all?(1..count//1, &match?(%{phase: p} when p in [:ready, :draining], roster[&1]))

  @spec running(t()) :: [running()]
  def running(roster) do
    for {slot, %{phase: :ready, generation: generation}} <- Enum.sort(roster),
        do: {slot, generation}
  end

  @doc "The last slot that callers have to look at, in a pool of `count` workers."
  @spec last_slot(t(), count :: non_neg_integer()) :: non_neg_integer()
  def last_slot(roster, count), do: Enum.max([count | Map.keys(roster)])
end
