defmodule ErlangPython.Telemetry.DefaultLogger do
  @moduledoc false
  # Events as lines of the Logger.

  alias ErlangPython.Pool.{Handle, Slots}
  alias ErlangPython.Telemetry.Events

  require Logger

  @id "erlang_python-default-logger"

  @events [
    [:erlang_python, :call, :stop],
    [:erlang_python, :call, :exception],
    [:erlang_python, :stream, :stop],
    [:erlang_python, :stream, :exception],
    [:erlang_python, :callback, :exception],
    [:erlang_python, :worker, :start],
    [:erlang_python, :worker, :exit],
    [:erlang_python, :pool, :overloaded],
    [:erlang_python, :span, :dropped]
  ]

  @spec attach(Logger.level()) :: :ok | {:error, :already_exists}
  def attach(level),
    do: apply(:telemetry, :attach_many, [@id, @events, &__MODULE__.handle/4, %{level: level}])

  @spec detach() :: :ok | {:error, :not_found}
  def detach, do: apply(:telemetry, :detach, [@id])

  @doc "Does it log the ends of this pool's workers?"
  @spec logs_ends?(Handle.t()) :: boolean()
  def logs_ends?(handle) do
    Events.telemetry?(Slots.observed(handle)) and
      :telemetry
      |> apply(:list_handlers, [[:erlang_python, :worker, :exit]])
      |> Enum.any?(&(&1.id == @id))
  end

  @doc false
  @spec handle([atom()], map(), map(), map()) :: :ok
  def handle([:erlang_python | event], measurements, metadata, %{level: level}) do
    Logger.log(level(event, metadata, level), fn -> line(event, measurements, metadata) end,
      pool: metadata.pool,
      worker: metadata[:worker]
    )
  end

  # What needs somebody's attention, whatever level the rest has.
  defp level([:pool, :overloaded], _metadata, _level), do: :warning
  defp level([:span, :dropped], _metadata, _level), do: :warning

  defp level([:worker, :exit], %{reason: reason}, _level) when reason not in [:drained, :stopped],
    do: :warning

  defp level(_event, _metadata, level), do: level

  defp line([:call, :stop], measurements, metadata) do
    "Python #{what(metadata)} took #{ms(measurements.duration)} " <>
      "(#{ms(measurements.queue_time)} until it began, #{ms(measurements.run_time)} in Python), #{where(metadata)}"
  end

  defp line([:call, :exception], measurements, metadata) do
    "Python #{what(metadata)} failed after #{ms(measurements.duration)}, #{where(metadata)}: " <>
      error(metadata.error)
  end

  defp line([:stream, :stop], measurements, metadata) do
    "Python stream #{what(metadata)} #{metadata.reason} after #{ms(measurements.duration)} and " <>
      "#{measurements.items} items, #{where(metadata)}"
  end

  defp line([:stream, :exception], measurements, metadata) do
    "Python stream #{what(metadata)} failed after #{ms(measurements.duration)} and " <>
      "#{measurements.items} items, #{where(metadata)}: " <> error(metadata.error)
  end

  defp line([:callback, :exception], measurements, metadata) do
    "callback #{metadata.function || "of a function"} failed after #{ms(measurements.duration)}, " <>
      "#{where(metadata)}: #{metadata.error}"
  end

  defp line([:worker, :start], measurements, metadata) do
    "Python #{metadata.python} (OS process #{metadata.os_pid}) is ready after " <>
      "#{ms(measurements.duration)}, #{where(metadata)}"
  end

  defp line([:worker, :exit], measurements, metadata) do
    "Python (OS process #{metadata.os_pid}) has ended after #{ms(measurements.duration)} and " <>
      "#{measurements.served} requests, #{where(metadata)}: #{ending(metadata)}"
  end

  defp line([:pool, :overloaded], _measurements, metadata), do: Exception.message(metadata.error)

  defp line([:span, :dropped], measurements, metadata),
    do: "#{measurements.count} spans were dropped, #{where(metadata)}"

  defp what(%{module: nil, operation: operation}), do: Atom.to_string(operation)
  defp what(%{module: module, function: function}), do: "#{module}.#{function}"

  defp where(%{pool: pool} = metadata) do
    case metadata[:worker] do
      nil -> "pool #{inspect(pool)}"
      worker -> "pool #{inspect(pool)}, worker #{worker}"
    end
  end

  defp ending(%{error: %{} = error}), do: Exception.message(error)
  defp ending(%{reason: reason, status: nil}), do: Atom.to_string(reason)
  defp ending(%{reason: reason, status: status}), do: "#{reason} with status #{status}"

  # A traceback has many lines, of which the last says it.
  defp error(%ErlangPython.Error{kind: :python} = error), do: "#{error.type}: #{error.message}"
  defp error(%_{} = exception), do: Exception.message(exception)
  defp error(other), do: inspect(other)

  defp ms(native),
    do: "#{Float.round(System.convert_time_unit(native, :native, :microsecond) / 1_000, 1)} ms"
end
