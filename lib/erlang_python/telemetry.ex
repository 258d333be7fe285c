defmodule ErlangPython.Telemetry do
  @moduledoc """
  Events, traces, and a logger for them.

  When the application has `:telemetry`, pools emit events through it. It is no dependency: it is looked for
  when a pool starts, and without it nothing is emitted. Times are in native units
  (`System.convert_time_unit/3`), sizes in bytes.

  | event | measurements | emitted by |
  |---|---|---|
  | `[:erlang_python, :call, :start]` | `system_time`, `monotonic_time` | the caller |
  | `[:erlang_python, :call, :stop]`, `[:erlang_python, :call, :exception]` | `duration`, `monotonic_time`, `queue_time`, `run_time`, `encode_size`, `decode_size` | the caller |
  | `[:erlang_python, :stream, :start]` | `system_time`, `monotonic_time` | the reader |
  | `[:erlang_python, :stream, :part]` | `duration`, `items` | the reader |
  | `[:erlang_python, :stream, :stop]`, `[:erlang_python, :stream, :exception]` | `duration`, `monotonic_time`, `parts`, `items` | the reader |
  | `[:erlang_python, :callback, :start]` | `system_time`, `monotonic_time` | the callback's process |
  | `[:erlang_python, :callback, :stop]`, `[:erlang_python, :callback, :exception]` | `duration`, `monotonic_time` | the callback's process |
  | `[:erlang_python, :worker, :start]` | `system_time`, `monotonic_time`, `duration` | the pool |
  | `[:erlang_python, :worker, :exit]` | `monotonic_time`, `duration`, `served` | the pool, or the worker's process when the pool stops |
  | `[:erlang_python, :pool, :queued]` | `queued` | the caller |
  | `[:erlang_python, :pool, :overloaded]` | `current`, `max` | the caller |
  | `[:erlang_python, :span, :stop]` | `duration`, `system_time` | the trace buffer |
  | `[:erlang_python, :span, :dropped]` | `count` | the trace buffer |

  [Telemetry](telemetry.md) says what each measurement is, and which metadata each event has. Handlers run in
  the process that the last column names, which waits for them.

  ## Tracing

  After `enable_tracing/0` each call, stream and callback is recorded as a span, with those that Python code makes by
  `erlang.Span` and `@erlang.trace()`. They know the spans around them, across calls and callbacks between the two
  languages:

      ErlangPython.Telemetry.enable_tracing()
      ErlangPython.exec("with erlang.Span('load', rows=2): pass")
      for span <- ErlangPython.Telemetry.get_traces(), do: {span.name, span.kind}
      #=> [{"exec", :call}, {"load", :python}]
      ErlangPython.Telemetry.disable_tracing()
      ErlangPython.Telemetry.clear_traces()

  Where OpenTelemetry is in use on one side or on both, its context goes along without this; see
  [Telemetry](telemetry.md).
  """

  alias ErlangPython.Telemetry.{DefaultLogger, Events, Traces}

  @typedoc """
  A span that has ended.

    * `name`: `module.function` of a call or stream, the name of a callback, or what Python calls it;
    * `kind`: `:call`, `:stream`, `:callback`, or `:python` for those of Python code;
    * `trace_id`, `span_id`, `parent_id`: 32 and 16 hexadecimal digits; `parent_id` is `nil` at the first of a trace;
    * `start_time`, `end_time`: microseconds since 1970, by the system's clock; `duration_us`: microseconds;
    * `status`: `:ok`, `:error`, or `:unset` where Python code has said nothing; `message`: what went wrong, or `nil`;
    * `attributes`: a map with strings as keys;
    * `events`: `%{name: name, time: microseconds since 1970, attributes: map}`, oldest first;
    * `pool`, and `worker`: its id, `nil` where none has taken the request.
  """
  @type span :: Traces.span()

  @doc """
  Logs calls, streams, failed callbacks, and starts and ends of workers, at this level. Ends of workers that were not asked
  to end, and refused calls, are warnings.

  `{:error, :already_exists}` if it is attached. Raises `RuntimeError` if the application has no `:telemetry`.
  """
  @spec attach_default_logger(Logger.level()) :: :ok | {:error, :already_exists}
  def attach_default_logger(level \\ :info) do
    unless level in [:debug, :info, :notice, :warning, :error, :critical, :alert, :emergency],
      do: raise(ArgumentError, "expected a level of the Logger, got: #{inspect(level)}")

    check_present!()
    DefaultLogger.attach(level)
  end

  @doc "Ends it; `{:error, :not_found}` if it is not attached."
  @spec detach_default_logger() :: :ok | {:error, :not_found}
  def detach_default_logger do
    check_present!()
    DefaultLogger.detach()
  end

  defp check_present! do
    unless Events.present?() do
      raise "the application :telemetry is not running: add {:telemetry, \"~> 1.0\"} to the " <>
              "dependencies of yours"
    end
  end

  @doc "Records spans from now on, in all pools of this node. Calls that are under way are not recorded."
  @spec enable_tracing() :: :ok
  def enable_tracing, do: Traces.switch(true)

  @doc "Records no more; what was recorded stays."
  @spec disable_tracing() :: :ok
  def disable_tracing, do: Traces.switch(false)

  @doc "Are spans recorded?"
  @spec tracing?() :: boolean()
  def tracing?, do: Events.tracing?()

  @doc """
  The spans that have ended, in the order in which they began. The last 10 000 are kept (64 MB).

  All that a request has recorded is there when its result is; spans of threads that go on come later.
  """
  @spec get_traces() :: [span()]
  def get_traces, do: Traces.get() |> elem(0)

  @doc "How many spans were dropped since `clear_traces/0`: by newer ones, or because too many came at once."
  @spec dropped() :: non_neg_integer()
  def dropped, do: Traces.get() |> elem(1)

  @doc "Forgets what was recorded."
  @spec clear_traces() :: :ok
  def clear_traces, do: Traces.clear()
end
