defmodule Bench.Rounds do
  @moduledoc false
  # The speed of a machine drifts, by a factor of two within minutes on a virtual one. So what is
  # compared takes turns in short rounds, A B A B, and is compared round by round.

  @doc """
  Runs each function once to warm up, then all of them in turn, `count` times.

  Gives what each answered, by name, in the order of the rounds.
  """
  @spec run(pos_integer(), [{atom(), (... -> value)}]) :: %{atom() => [value]} when value: term()
  def run(count, variants) do
    for {_name, variant} <- variants, do: variant.()

    answers =
      for _round <- 1..count, {name, variant} <- variants do
        {name, variant.()}
      end

    Enum.group_by(answers, &elem(&1, 0), &elem(&1, 1))
  end
end
