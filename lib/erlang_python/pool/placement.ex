defmodule ErlangPython.Pool.Placement do
  @moduledoc false
  # Which worker a new context gets (pure).

  alias ErlangPython.Pool.Slots

  @typedoc "A worker that is ready and not set aside: how many contexts and requests it has."
  @type candidate :: %{slot: Slots.slot(), contexts: integer(), in_flight: integer()}

  @doc "In a pool of `count` workers; nil if there is no candidate."
  @spec choose([candidate()], :dedicated | :shared, count :: non_neg_integer()) ::
          Slots.slot() | nil
  def choose(candidates, mode, count) do
    with %{slot: slot} <- Enum.min_by(candidates, &weight(&1, mode, count), fn -> nil end),
         do: slot
  end

  # A worker that others wait for, or that has few contexts already, is the worse choice.
  defp weight(candidate, :dedicated, _count), do: {candidate.contexts, candidate.in_flight}

  # An extra worker could not end as long as it has one.
  defp weight(candidate, :shared, count), do: {candidate.slot > count, candidate.contexts}
end
