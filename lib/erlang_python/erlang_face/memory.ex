defmodule ErlangPython.ErlangFace.Memory do
  @moduledoc false
  # `py:memory_stats` and its kin: asked of every worker, given as one.

  alias ErlangPython.ErlangFace.{Reason, Workers}

  # The limit of Python's `tracemalloc`.
  @max_frames 65_535

  @typedoc "`traced_memory_current` and `traced_memory_peak` only while every worker traces."
  @type stats :: %{
          required(:gc_stats) => [%{binary() => non_neg_integer()}],
          required(:gc_count) => tuple(),
          required(:gc_threshold) => tuple(),
          optional(:traced_memory_current | :traced_memory_peak) => non_neg_integer()
        }

  @spec stats() :: {:ok, stats()} | {:error, Reason.t()}
  def stats do
    with {:ok, workers} <- Workers.values("_introspect", "memory_stats"),
         do: {:ok, sum(workers)}
  end

  @doc false
  @spec sum([%{binary() => term()}]) :: stats()
  def sum([first | _others] = workers) do
    stats = %{
      gc_stats: workers |> Enum.map(& &1["gc_stats"]) |> Enum.zip_with(&sum_maps/1),
      gc_count: sum_tuples(workers, "gc_count"),
      # The same everywhere, unless code of the users' has set it in one of them.
      gc_threshold: first["gc_threshold"]
    }

    if Enum.all?(workers, &is_map_key(&1, "traced")) do
      {current, peak} = sum_tuples(workers, "traced")
      Map.merge(stats, %{traced_memory_current: current, traced_memory_peak: peak})
    else
      stats
    end
  end

  defp sum_maps(maps), do: Enum.reduce(maps, &Map.merge(&1, &2, fn _key, a, b -> a + b end))

  defp sum_tuples(workers, key),
    do:
      workers
      |> Enum.map(&Tuple.to_list(&1[key]))
      |> Enum.zip_with(&Enum.sum/1)
      |> List.to_tuple()

  @spec collect(term()) :: {:ok, non_neg_integer()} | {:error, Reason.t()}
  def collect(generation) when generation in 0..2 do
    message = {:call, "gc", "collect", [generation]}
    with {:ok, counts} <- Workers.values_of(message, :none), do: {:ok, Enum.sum(counts)}
  end

  def collect(_generation), do: {:error, :invalid_args}

  @spec start_tracing(term()) :: :ok | {:error, Reason.t()}
  def start_tracing(frames) when is_integer(frames) and frames in 1..@max_frames,
    do: done(Workers.values("_introspect", "start_tracing", [frames], {:replay, __MODULE__}))

  def start_tracing(_frames), do: {:error, :invalid_args}

  @spec stop_tracing() :: :ok | {:error, Reason.t()}
  def stop_tracing,
    do: done(Workers.values("_introspect", "stop_tracing", [], {:forget, __MODULE__}))

  defp done({:ok, _nothing}), do: :ok
  defp done(error), do: error
end
