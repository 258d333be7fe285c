defmodule Bench.Result do
  @moduledoc false
  # One line of the table: what was reached, beside what, and whether that is enough.

  alias Bench.{Stats, Unit}

  @enforce_keys [:what, :reached]
  defstruct [:what, :reached, against: "", ratio: "", target: "", verdict: ""]

  @type t :: %__MODULE__{}
  @type target :: {:at_most | :at_least, number()}

  @doc "A figure on its own, judged by its median; without a target it is there to be seen."
  @spec figure(String.t(), Unit.t(), [number()], target() | nil) :: t()
  def figure(what, unit, values, target \\ nil) do
    %__MODULE__{
      what: what,
      reached: Unit.format(Stats.median(values), unit),
      target: show(target, &Unit.format(&1, unit)),
      verdict: verdict(Stats.median(values), target)
    }
  end

  @doc """
  A figure and its baseline's, judged by the median of the ratios of each round.

  `:target` is for that ratio, `:absolute` for the figure itself; `:ratio` is what is divided by what,
  `:mine_by_theirs` or, for a speedup in times, `:theirs_by_mine`.
  """
  @spec compare(String.t(), Unit.t(), [number()], {String.t(), [number()]}, keyword()) :: t()
  def compare(what, unit, mine, {name, theirs}, options \\ []) do
    ratios =
      case Keyword.get(options, :ratio, :mine_by_theirs) do
        :mine_by_theirs -> Stats.ratios(mine, theirs)
        :theirs_by_mine -> Stats.ratios(theirs, mine)
      end

    result = figure(what, unit, mine, options[:absolute])
    target = options[:target]

    %{
      result
      | against: "#{name}: #{Unit.format(Stats.median(theirs), unit)}",
        ratio: spread(ratios),
        target: if(target, do: show(target, &"#{decimals(&1)} ×"), else: result.target),
        verdict: if(target, do: verdict(Stats.median(ratios), target), else: result.verdict)
    }
  end

  @doc "A ratio of two things of our own."
  @spec ratio(String.t(), [number()], target(), String.t()) :: t()
  def ratio(what, ratios, target, against) do
    %__MODULE__{
      what: what,
      reached: "#{decimals(Stats.median(ratios))} ×",
      against: against,
      ratio: spread(ratios),
      target: show(target, &"#{decimals(&1)} ×"),
      verdict: verdict(Stats.median(ratios), target)
    }
  end

  # The median, and where the middle half of the rounds lies.
  defp spread(ratios) do
    [low, middle, high] = for share <- [0.25, 0.5, 0.75], do: Stats.quantile(ratios, share)
    "#{decimals(middle)} (#{decimals(low)} to #{decimals(high)})"
  end

  defp decimals(number) when number < 10, do: :erlang.float_to_binary(number / 1, decimals: 2)
  defp decimals(number), do: :erlang.float_to_binary(number / 1, decimals: 1)

  defp show(nil, _format), do: ""
  defp show({:at_most, bound}, format), do: "≤ " <> format.(bound)
  defp show({:at_least, bound}, format), do: "≥ " <> format.(bound)

  defp verdict(_value, nil), do: ""
  defp verdict(value, {:at_most, bound}), do: met(value <= bound)
  defp verdict(value, {:at_least, bound}), do: met(value >= bound)

  defp met(true), do: "met"
  defp met(false), do: "not met"
end

defmodule Bench.Unit do
  @moduledoc false
  # Numbers as people read them. Times come in nanoseconds, rates per second, sizes in bytes.

  @type t :: :time | :calls | :bytes_per_second | :bytes | :share

  @spec format(number(), t()) :: String.t()
  def format(value, :time) when value < 1.0e3, do: "#{digits(value)} ns"
  def format(value, :time) when value < 1.0e6, do: "#{digits(value / 1.0e3)} µs"
  def format(value, :time) when value < 1.0e9, do: "#{digits(value / 1.0e6)} ms"
  def format(value, :time), do: "#{digits(value / 1.0e9)} s"
  def format(value, :calls), do: "#{grouped(round(value))}/s"
  def format(value, :bytes_per_second), do: "#{digits(value / 1.0e9)} GB/s"
  def format(value, :bytes), do: "#{digits(value / 1.0e6)} MB"
  def format(value, :share), do: "#{digits(100 * value)} %"

  # Three digits that count; more would be noise.
  defp digits(value) when value < 10, do: :erlang.float_to_binary(value / 1, decimals: 2)
  defp digits(value) when value < 100, do: :erlang.float_to_binary(value / 1, decimals: 1)
  defp digits(value), do: value |> round() |> Integer.to_string()

  defp grouped(number) do
    number |> Integer.to_string() |> String.replace(~r/(?<=\d)(?=(\d{3})+$)/, ",")
  end
end
