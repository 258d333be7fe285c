defmodule Bench.Stats do
  @moduledoc false

  @spec median([number()]) :: float()
  def median(values), do: quantile(values, 0.5)

  @doc "Linear between the two nearest values."
  @spec quantile([number(), ...], float()) :: float()
  def quantile(values, share) do
    sorted = values |> Enum.sort() |> List.to_tuple()
    at = share * (tuple_size(sorted) - 1)
    below = elem(sorted, floor(at))
    below + (elem(sorted, ceil(at)) - below) * (at - floor(at))
  end

  @doc "What each round's value is to the other's of the same round."
  @spec ratios([number()], [number()]) :: [float()]
  def ratios(values, others), do: Enum.zip_with(values, others, &(&1 / &2))
end
