defmodule ErlangPython.Pool.Overflow do
  @moduledoc false
  # How many workers a pool has beyond `:workers`, and which (pure). They stand in the slots after those.
  #
  # There is one worker that is not set aside for a context, as long as `:max_overflow` allows: before anybody waits for it, for
  # Python takes long to start. Being busy is no reason for more: a request waits for a call to end, not for a
  # Python to start and to load all that its pool loads.

  alias ErlangPython.Pool.{Options, Slots}

  # How long one that is not needed stays: who binds and unbinds in turn must not start a Python each time.
  @linger_ms 5_000

  @type slots :: %{Slots.slot() => %{phase: atom(), set_aside: boolean()}}
  @type keeps :: (Slots.slot() -> boolean())

  @spec linger_ms() :: pos_integer()
  def linger_ms, do: @linger_ms

  @doc "The slots of extra workers that are to be started, in a pool of `count` workers."
  @spec missing(slots(), count :: non_neg_integer(), max :: non_neg_integer()) :: [Slots.slot()]
  def missing(_slots, _count, 0), do: []

  def missing(slots, count, max) do
    slots
    |> free(count, max)
    |> Enum.take(max(needed(slots, count, max) - length(extra(slots, count)), 0))
  end

  @doc """
  The slots of extra workers that are to end, those started last first. `keeps?` tells of those that hold something
  which would be lost.
  """
  @spec superfluous(slots(), non_neg_integer(), non_neg_integer(), keeps()) :: [Slots.slot()]
  def superfluous(slots, count, max, keeps?) do
    extra = extra(slots, count)

    extra
    |> Enum.reject(&(slots[&1].set_aside or keeps?.(&1)))
    |> Enum.take(max(length(extra) - needed(slots, count, max), 0))
  end

  @doc "Are there more than are needed?"
  @spec any_superfluous?(slots(), non_neg_integer(), non_neg_integer()) :: boolean()
  def any_superfluous?(slots, count, max),
    do: length(extra(slots, count)) > needed(slots, count, max)

  @doc "Is one that has ended to be started again?"
  @spec wanted?(slots(), non_neg_integer(), non_neg_integer(), Slots.slot()) :: boolean()
  def wanted?(_slots, _count, 0, _slot), do: false

  def wanted?(slots, count, max, slot) do
    # The context for which it was set aside is lost.
    slots = put_in(slots[slot].set_aside, false)
    slots[slot].phase != :closing and not any_superfluous?(slots, count, max)
  end

  defp needed(slots, count, max) do
    aside =
      Enum.count(slots, fn {_slot, entry} -> entry.set_aside and entry.phase != :closing end)

    (aside + 1 - count) |> max(0) |> min(max)
  end

  defp extra(slots, count) do
    for({slot, %{phase: phase}} when slot > count and phase != :closing <- slots, do: slot)
    |> Enum.sort(:desc)
  end

  defp free(slots, count, max) do
    last = min(count + max, Options.max_workers())
    Enum.reject((count + 1)..last//1, &is_map_key(slots, &1))
  end
end
