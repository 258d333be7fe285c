defmodule ErlangPython.Pool.Window do
  @moduledoc false
  # How many requests one worker may hold at a time (pure).
  #
  # One, strictly, would leave the worker idle for a round trip between two calls: a window of
  # 2 doubles the throughput of short calls and 8 quadruples it. A request that waits
  # in a window can't be served by a worker that becomes free, so the window is as
  # large as the worker's recent calls let it be without a wait of more than @target: a millisecond
  # for the average request in a full window.

  @target_us 2_000
  @max 64

  # A long call says "one at a time" at once, and a few short ones after it say otherwise again: samples are
  # capped, so that a call of an hour weighs as much as one of twice the target.
  @longest_us 2 * @target_us
  @weight 4

  @enforce_keys [:mode, :average, :last_end]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          mode: :auto | pos_integer(),
          average: number(),
          last_end: integer() | nil
        }

  @spec new(:auto | pos_integer()) :: t()
  def new(mode), do: %__MODULE__{mode: mode, average: @target_us, last_end: nil}

  @doc """
  Takes note of `count` requests that ended at `now`, of which the first was sent at `sent_at`
  (both in microseconds). A worker that was busy all along needed the time since the last end.
  """
  @spec observe(t(), pos_integer(), integer(), integer()) :: t()
  def observe(%{mode: :auto} = window, count, sent_at, now) do
    began = max(sent_at, window.last_end || sent_at)
    sample = min((now - began) / count, @longest_us)
    average = if sample < @target_us, do: weigh(window.average, sample), else: sample
    %{window | average: average, last_end: now}
  end

  def observe(window, _count, _sent_at, _now), do: window

  defp weigh(average, sample), do: average + (sample - average) / @weight

  @spec size(t()) :: pos_integer()
  def size(%{mode: :auto, average: average}),
    do: (@target_us / max(average, 1)) |> round() |> max(1) |> min(@max)

  def size(%{mode: size}), do: size

  @doc "What a worker starts with, before anything is known of its calls."
  @spec initial(:auto | pos_integer()) :: pos_integer()
  def initial(:auto), do: 1
  def initial(size), do: size
end
