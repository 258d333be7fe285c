defmodule ErlangPython.Telemetry.CallbackSpan do
  @moduledoc false
  # The events and the recorded span of a function that Python calls, in the process that works on it; nil
  # where nobody looks and no trace goes through it.

  alias ErlangPython.Callbacks.Origin
  alias ErlangPython.Pool.Slots
  alias ErlangPython.Telemetry.{Events, OpenTelemetry, TraceContext, Traces}

  @enforce_keys [:origin, :flags, :metadata, :parent, :context]
  defstruct @enforce_keys ++ [:started, :system_time]

  @opaque t :: %__MODULE__{}

  @doc "Takes what the message carries of a trace out of its body, and puts it into the origin."
  @spec place(:call | :cast | :service, Origin.t(), body :: list()) ::
          {t() | nil, Origin.t(), list()}
  def place(:service, origin, body), do: {nil, origin, body}

  def place(operation, origin, [function, args, kwargs | carried]) do
    flags = Slots.observed(origin.handle)
    parent = carried(carried)
    body = [function, args, kwargs]

    if flags == 0 and parent == nil do
      {nil, origin, body}
    else
      context = if Events.recording?(flags), do: TraceContext.child(parent), else: parent
      origin = %{origin | trace: context}

      metadata = %{
        pool: origin.handle.name,
        worker: origin.slot,
        function: if(is_binary(function), do: function),
        operation: operation,
        error: nil,
        telemetry_span_context: make_ref()
      }

      {%__MODULE__{
         origin: origin,
         flags: flags,
         metadata: metadata,
         parent: parent,
         context: context
       }, origin, body}
    end
  end

  def place(_operation, origin, other), do: {nil, origin, other}

  defp carried([trace]) when trace != nil, do: TraceContext.unpack(trace)
  defp carried(_none), do: nil

  @spec run(t() | nil, (... -> result)) :: result
        when result: {:ok, term(), :elixir | :erlang} | {:error, {String.t(), list()}}
  def run(nil, fun), do: fun.()

  def run(span, fun) do
    span = %{span | started: System.monotonic_time(), system_time: :os.system_time()}

    if span.parent && Events.open_telemetry?(span.flags),
      do: OpenTelemetry.attach(span.parent)

    measurements = %{system_time: span.system_time, monotonic_time: span.started}

    if Events.telemetry?(span.flags),
      do: Events.execute([:callback, :start], measurements, span.metadata)

    result = fun.()
    finish(span, result, System.monotonic_time() - span.started)
    result
  end

  defp finish(span, result, duration) do
    if Events.telemetry?(span.flags) do
      measurements = %{duration: duration, monotonic_time: span.started + duration}
      {event, facts} = outcome(result)
      Events.execute([:callback, event], measurements, Map.merge(span.metadata, facts))
    end

    if Events.recording?(span.flags) do
      Traces.record(%{
        name: span.metadata.function || "function",
        kind: :callback,
        context: span.context,
        parent: span.parent,
        system_time: span.system_time,
        duration: duration,
        status: if(match?({:error, _failure}, result), do: :error, else: :ok),
        message: message(result),
        attributes: %{},
        pool: span.metadata.pool,
        worker: span.metadata.worker
      })
    end
  end

  defp outcome({:ok, _value, _face}), do: {:stop, %{}}

  defp outcome({:error, {"elixir", [kind, _reason, message, opaque, _stacktrace]}}) do
    # Its own words, and none of Python's.
    kind = String.to_existing_atom(kind)
    {:exception, %{error: message, kind: kind, reason: opaque.term, stacktrace: []}}
  end

  defp outcome({:error, {_kind, [message]}}),
    do: {:exception, %{error: message, kind: :error, reason: message, stacktrace: []}}

  defp message({:ok, _value, _face}), do: nil
  defp message({:error, {"elixir", [_kind, _reason, message | _]}}), do: message
  defp message({:error, {_kind, [message]}}), do: message
end
