defmodule ErlangPython.RandomMix.Plans do
  @moduledoc false
  # Random plans, and what must come out of each. A plan is a tree of lists, which Python gets as they are: the parts of
  # the one side are carried out by `ErlangPython.RandomMix.Elixir`, those of the other by random_plans.py.

  @how %{
    elixir: ["call", "eval", "run", "await", "async", "ref"],
    python: ["name", "attribute", "function", "loop"]
  }

  @fan %{elixir: ["tasks", "strangers"], python: ["threads", "pool", "loop"]}

  @read ["for", "thread", "loop"]

  @doc "A plan for that side, of that depth at most, from the process's random numbers."
  def plan(side, depth) when depth <= 0, do: leaf(side)

  def plan(side, depth) do
    other = if side == :elixir, do: :python, else: :elixir

    case :rand.uniform(if(side == :elixir, do: 20, else: 16)) do
      n when n in 1..2 ->
        leaf(side)

      n when n in 3..8 ->
        ["down", Enum.random(@how[side]), plan(other, depth - 1)]

      n when n in 9..10 ->
        ["in_sequence", plans(side, depth - 1, 3)]

      n when n in 11..12 ->
        ["attempt", plan(side, depth - 1)]

      n when n in 13..14 ->
        ["fan", Enum.random(@fan[side]), plans(other, depth - 2, 4)]

      n when n in 15..16 and side == :python ->
        read(:elixir, depth)

      n when n in 15..16 ->
        read(:elixir, depth)

      n when n in 17..18 ->
        stream(depth)

      n when n in 19..20 ->
        ["context", Enum.random(["dedicated", "shared"]), plan(:python, depth - 1)]
    end
  end

  defp read(elements, depth) do
    plans = plans(elements, depth - 2, 5)
    ["read", Enum.random(@read), plans, :rand.uniform(length(plans) + 1) - 1]
  end

  defp stream(depth) do
    plans = plans(:python, depth - 2, 5)
    ["stream", Enum.random(["sync", "async"]), plans, :rand.uniform(length(plans) + 1) - 1]
  end

  defp plans(side, depth, most), do: for(_ <- 1..:rand.uniform(most), do: plan(side, depth))

  defp leaf(side) do
    case :rand.uniform(12) do
      3 when side == :python -> ["killed", :rand.uniform(1_000)]
      1 -> ["fail", :rand.uniform(1_000)]
      2 -> ["pause", :rand.uniform(5)]
      _ -> ["value", :rand.uniform(1_000)]
    end
  end

  @doc "Its value, or the number of the failure that was planned."
  def expect([kind, n]) when kind in ["value", "killed"], do: {:ok, n}
  def expect(["fail", n]), do: {:raised, n}
  def expect(["attempt", plan]), do: {:ok, plan |> expect() |> elem(1)}
  def expect(["pause", _ms]), do: {:ok, 0}
  def expect(["down", _how, plan]), do: expect(plan)
  def expect(["context", _mode, plan]), do: expect(plan)
  def expect(["fan", _how, plans]), do: first(plans)
  def expect(["in_sequence", plans]), do: first(plans)
  def expect(["stream", _how, plans, count]), do: plans |> Enum.take(count) |> first()
  def expect(["read", _how, plans, count]), do: plans |> Enum.take(count) |> first()

  # All there is, or what the first that fails does.
  defp first(plans) do
    Enum.reduce_while(plans, {:ok, 0}, fn plan, {:ok, sum} ->
      case expect(plan) do
        {:ok, n} -> {:cont, {:ok, sum + n}}
        raised -> {:halt, raised}
      end
    end)
  end
end
