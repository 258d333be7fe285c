defmodule ErlangPython.Stream.Demand do
  @moduledoc false
  # How many items the next pull asks for (pure).
  #
  # Twice as many each time as long as Python fills pulls at once, so that what it has made ahead is never more
  # than what was read. As many as came in time, if it did not: a slow
  # generator is asked for one item at a time, which leaves Python as soon as it is there.

  @fast_us 2_000
  # A message ends at 64 KiB anyhow; this bounds what tiny items take here, in cells of a list.
  @limit 4_096

  @spec next(pos_integer(), non_neg_integer(), non_neg_integer()) :: pos_integer()
  def next(most, count, elapsed_us) when count >= most and elapsed_us <= @fast_us,
    do: min(2 * most, @limit)

  def next(_most, count, _elapsed_us), do: max(count, 1)
end
