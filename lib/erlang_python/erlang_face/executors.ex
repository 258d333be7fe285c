defmodule ErlangPython.ErlangFace.Executors do
  @moduledoc false
  # What `:py` says of its workers, and how it uses them side by side.

  alias ErlangPython.ErlangFace.{CallList, Calls, Reason, Streams, Workers}
  alias ErlangPython.Pool
  alias ErlangPython.Pool.{Configured, Slots}
  alias ErlangPython.Request.{Fanout, Info}

  @spec count() :: non_neg_integer()
  def count do
    case Workers.pool() do
      {:ok, handle} -> max(Slots.count(handle), handle.options.workers)
      {:error, _reason} -> 0
    end
  end

  # Made of text, as Dialyzer would warn callers who expect `subinterp` too if it knew the two that come.
  @spec mode() :: :free_threaded | :subinterp | :multi_executor
  def mode, do: String.to_atom(mode_name())

  defp mode_name do
    with {:ok, handle} <- Workers.pool(),
         :ok <- Pool.Manager.await_ready(handle),
         %{free_threaded: true} <- Info.describe(handle) do
      "free_threaded"
    else
      _with_a_lock_or_none -> "multi_executor"
    end
  end

  @spec parallel(term()) :: {:ok, [Calls.result()]} | {:error, Reason.t()}
  def parallel(calls) do
    with {:ok, functions} <- CallList.functions(calls), do: {:ok, run_all(functions)}
  end

  defp run_all(functions) do
    owner = self()
    settings = [max_concurrency: concurrency(), timeout: :infinity]

    functions
    # A stream is not to end with the process that made the call.
    |> Task.async_stream(&Streams.give(&1.(), owner), settings)
    |> Enum.map(fn {:ok, result} -> result end)
  end

  # Where there is no pool, each call says so.
  defp concurrency do
    case Workers.pool() do
      {:ok, handle} -> Fanout.concurrency(handle)
      {:error, _reason} -> 1
    end
  end

  @spec interrupt(term()) :: :ok | {:error, Reason.t()}
  def interrupt(worker) when is_integer(worker) and worker > 0 do
    with {:ok, handle} <- Workers.pool() do
      case Pool.interrupt(handle.name, worker) do
        {:error, error} -> {:error, Reason.of(error)}
        _stopped_or_idle -> :ok
      end
    end
  end

  def interrupt(_worker), do: {:error, :invalid_args}

  @spec stats() :: %{atom() => non_neg_integer()}
  def stats do
    stats = Pool.stats(Configured.default())

    %{
      num_workers: stats.workers,
      available_workers: stats.idle,
      checked_out: stats.busy + stats.in_callback + stats.bound,
      pending_requests: stats.queued + behind_others()
    }
  end

  # Requests that were given to a worker already and wait there for another one.
  defp behind_others do
    case Workers.pool() do
      {:ok, handle} ->
        Enum.sum(
          for slot <- 1..Slots.count(handle)//1, do: max(Slots.in_flight(handle, slot) - 1, 0)
        )

      {:error, _reason} ->
        0
    end
  end

  @spec broadcast(term()) :: [Calls.result()] | {:error, Reason.t()}
  def broadcast(request) do
    with {:ok, message, options} <- Calls.message(request),
         {:ok, results} <- Workers.each(message, options, :none),
         do: Enum.map(results, fn {_worker, result} -> Calls.result(result) end)
  end
end
