defmodule ErlangPython.Telemetry.CallSpan do
  @moduledoc false
  # The events and the recorded span of one request, from its caller's side. Only requests of a pool at which
  # somebody looks come here.
  #
  # What is learned on the way (sizes, times, the worker) stands in the process's dictionary until the end.

  alias ErlangPython.Error
  alias ErlangPython.Pool.{Handle, Slots, Streams}
  alias ErlangPython.Request.{Message, Options}
  alias ErlangPython.Telemetry.{Events, Parent, TraceContext, Traces}

  @key {__MODULE__, :report}

  @unknown %{encode_size: 0, decode_size: 0, submitted: nil, worker: nil, begun: nil, run: nil}

  @type result :: {:ok, term()} | {:opened, Handle.t(), Streams.t(), term()} | {:error, Error.t()}

  @spec run(Handle.t(), Message.t(), Options.t(), Events.flags(), (Options.t() -> result)) ::
          result
  def run(handle, message, options, flags, fun) do
    span = start(handle, message, flags)
    parent = Parent.find(options, flags)
    context = if Events.recording?(flags), do: TraceContext.child(parent), else: parent
    options = %{options | observed: true, trace: header(handle, context, flags)}
    before = Process.put(@key, @unknown)

    try do
      fun.(options)
    catch
      kind, reason ->
        stacktrace = __STACKTRACE__
        finish(span, {kind, reason, stacktrace}, take(before), parent, context)
        :erlang.raise(kind, reason, stacktrace)
    else
      result ->
        finish(span, result, take(before), parent, context)
        result
    end
  end

  defp take(before) do
    report = Process.get(@key)
    if before, do: Process.put(@key, before), else: Process.delete(@key)
    report
  end

  defp header(handle, context, flags) do
    recording? = Events.recording?(flags)
    timed? = recording? or (Events.telemetry?(flags) and Events.handlers?(handle))
    TraceContext.header(context, timed?, recording?)
  end

  # --- what is learned on the way

  @doc "The request is about to be handed to the pool."
  @spec sent(Options.t(), iodata()) :: term()
  def sent(%{observed: false}, _wire), do: :ok

  def sent(_options, wire) do
    report = Process.get(@key)
    size = IO.iodata_length(wire)
    Process.put(@key, %{report | encode_size: size, submitted: :os.system_time(:nanosecond)})
  end

  @doc "It waits for a worker."
  @spec queued(Options.t(), Handle.t()) :: term()
  def queued(%{observed: false}, _handle), do: :ok
  def queued(_options, handle), do: Events.queued(handle)

  @doc "Its end has come; gives the frames of it."
  @spec received({:timed, Slots.slot(), [binary()]} | [binary()]) :: [binary()]
  def received({:timed, slot, [head | buffers] = frames}) do
    # Times are taken by the system's clock, which both sides share.
    <<_type, _id::64, begun::64, run::64, _rest::binary>> = head
    size = size(0, [head | buffers])
    report = Process.get(@key)
    Process.put(@key, %{report | decode_size: size, worker: slot, begun: begun, run: run})
    frames
  end

  def received(frames) do
    Process.put(@key, %{Process.get(@key) | decode_size: size(0, frames)})
    frames
  end

  defp size(sum, []), do: sum
  defp size(sum, [frame | frames]), do: size(sum + byte_size(frame), frames)

  # --- events

  defp start(handle, message, flags) do
    {operation, module, function} = describe(message)

    metadata = %{
      pool: handle.name,
      operation: operation,
      module: module,
      function: function,
      worker: nil,
      error: nil,
      telemetry_span_context: make_ref()
    }

    # The clock by which Python takes its times, and not the one that Erlang makes of it.
    system_time = :os.system_time()
    started = System.monotonic_time()

    if Events.telemetry?(flags) do
      measurements = %{system_time: system_time, monotonic_time: started}
      Events.execute([:call, :start], measurements, metadata)
    end

    %{
      handle: handle,
      flags: flags,
      started: started,
      system_time: system_time,
      metadata: metadata
    }
  end

  @doc "The operation, module and function of a request; the last two are nil for code."
  @spec describe(Message.t()) :: {atom(), String.t() | nil, String.t() | nil}
  def describe({operation, module, function, _args}), do: {operation, module, function}
  def describe({operation, _code, _bindings}), do: {operation, nil, nil}

  @doc "The same as the name of a span."
  @spec name(map()) :: String.t()
  def name(%{module: nil, operation: operation}), do: Atom.to_string(operation)
  def name(%{module: module, function: function}), do: module <> "." <> function

  defp finish(span, result, report, parent, context) do
    duration = System.monotonic_time() - span.started
    worker = worker(result, report)
    if Events.telemetry?(span.flags), do: tell(span, result, report, duration, worker)
    if Events.recording?(span.flags), do: record(span, result, duration, worker, parent, context)
  end

  defp worker({:opened, _handle, stream, _value}, _report), do: stream.slot
  defp worker(_result, report), do: report.worker

  defp tell(span, result, report, duration, worker) do
    {queue_time, run_time} = times(report, result, duration)

    measurements = %{
      duration: duration,
      monotonic_time: span.started + duration,
      queue_time: queue_time,
      run_time: run_time,
      encode_size: report.encode_size,
      decode_size: report.decode_size
    }

    if match?({:error, %Error{kind: :overloaded}}, result),
      do: Events.overloaded(span.handle, elem(result, 1))

    metadata = %{span.metadata | worker: worker}

    case failure(result) do
      nil -> Events.execute([:call, :stop], measurements, metadata)
      failure -> Events.execute([:call, :exception], measurements, Map.merge(metadata, failure))
    end
  end

  # Python's stack is in the error.
  defp failure({:error, error}), do: failure({:error, error, []})

  defp failure({kind, reason, stacktrace}),
    do: %{error: reason, kind: kind, reason: reason, stacktrace: stacktrace}

  defp failure(_value), do: nil

  defp times(%{begun: nil}, {:error, %Error{executed: :no}}, duration), do: {duration, 0}
  # Python has not said: it died, or was not asked.
  defp times(%{begun: nil}, _result, duration), do: {0, duration}

  defp times(report, _result, _duration) do
    # Somebody may have set the clock.
    {native(max(report.begun - report.submitted, 0)), native(report.run)}
  end

  defp native(nanoseconds), do: System.convert_time_unit(nanoseconds, :nanosecond, :native)

  defp record(span, result, duration, worker, parent, context) do
    Traces.record(%{
      name: name(span.metadata),
      kind: :call,
      context: context,
      parent: parent,
      system_time: span.system_time,
      duration: duration,
      status: if(failure(result), do: :error, else: :ok),
      message: message(result),
      attributes: %{"operation" => Atom.to_string(span.metadata.operation)},
      pool: span.handle.name,
      worker: worker
    })
  end

  defp message({:error, error}), do: Exception.message(error)

  defp message({kind, reason, stacktrace}),
    do: Exception.format_banner(kind, reason, stacktrace)

  defp message(_value), do: nil
end
