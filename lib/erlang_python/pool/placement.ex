defmodule ErlangPython.Pool.Placement do
  @moduledoc false
  # Which worker a new context gets (pure).

  alias ErlangPython.Pool.Slots

  @typedoc """
  A worker that is ready and not set aside: how many contexts and requests (in whatever thread) it has, and whether it has
  served as many as it may.
  """
  @type candidate :: %{
          slot: Slots.slot(),
          contexts: integer(),
          requests: integer(),
          worn: boolean()
        }

  @doc "In a pool of `count` workers; nil if there is no candidate."
  @spec choose([candidate()], :dedicated | :shared, count :: non_neg_integer()) ::
          Slots.slot() | nil
  def choose(candidates, mode, count) do
    with %{slot: slot} <- Enum.min_by(candidates, &weight(&1, mode, count), fn -> nil end),
         do: slot
  end

  # A worker that others wait for, or that has contexts already, is the worse choice.
  defp weight(candidate, :dedicated, _count),
    do: {candidate.worn, candidate.contexts, candidate.requests}

  # An extra worker could not end as long as it has one, nor one that has served its requests. Where that is so of all, one of
  # them takes them, so that the others can.
  defp weight(%{worn: true, slot: slot}, :shared, count), do: {true, slot > count, slot, 0}

  defp weight(%{worn: false} = candidate, :shared, count),
    do: {false, candidate.slot > count, candidate.contexts, candidate.requests}
end
