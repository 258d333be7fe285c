defmodule ErlangPython.Telemetry.StreamSpan do
  @moduledoc false
  # The events and the recorded span of one stream, from its reader's side; nil where nobody looks.

  alias ErlangPython.Error
  alias ErlangPython.Pool.{Configured, Slots}
  alias ErlangPython.Request.{Message, Options}
  alias ErlangPython.Stream.Cursor
  alias ErlangPython.Telemetry.{CallSpan, Events, Parent, TraceContext, Traces}

  @enforce_keys [
    :handle,
    :flags,
    :started,
    :system_time,
    :waiting_since,
    :metadata,
    :parent,
    :context
  ]
  defstruct @enforce_keys ++ [parts: 0, items: 0, worker: nil]

  @type t :: %__MODULE__{}

  @doc "Gives the options of the request that opens the stream, too: it belongs below this span."
  @spec start(Message.t(), Options.t()) :: {t() | nil, Options.t()}
  def start(message, options) do
    with {:ok, handle} <- Configured.fetch(options.pool),
         flags when flags != 0 or options.traceparent != nil <- Slots.observed(handle) do
      span = begin(handle, message, options, flags)
      {span, %{options | traceparent: span.context}}
    else
      # Who has no pool is told so by the request.
      _nobody_looks -> {nil, options}
    end
  end

  defp begin(handle, message, options, flags) do
    now = System.monotonic_time()
    system_time = :os.system_time()
    {operation, module, function} = CallSpan.describe(message)

    metadata = %{
      pool: handle.name,
      operation: operation,
      module: module,
      function: function,
      error: nil,
      telemetry_span_context: make_ref()
    }

    measurements = %{system_time: system_time, monotonic_time: now}
    if Events.telemetry?(flags), do: Events.execute([:stream, :start], measurements, metadata)
    parent = Parent.find(options, flags)

    %__MODULE__{
      handle: handle,
      flags: flags,
      started: now,
      system_time: system_time,
      waiting_since: now,
      metadata: metadata,
      parent: parent,
      context: if(Events.recording?(flags), do: TraceContext.child(parent), else: parent)
    }
  end

  @doc "What its pulls bring along."
  @spec header(t() | nil) :: binary() | nil
  def header(nil), do: nil

  def header(span),
    do: TraceContext.header(span.context, false, Events.recording?(span.flags))

  @doc "The reader waits for items from now on."
  @spec wait(t() | nil) :: t() | nil
  def wait(nil), do: nil
  def wait(span), do: %{span | waiting_since: System.monotonic_time()}

  @doc "The items of a step have come, and perhaps the end."
  @spec step(Cursor.step(), t() | nil) :: Cursor.step()
  def step(step, nil), do: step

  def step({items, next}, span) do
    span = part(span, length(items))

    {items, follow(next, span)}
  end

  defp follow(%Cursor{} = cursor, span),
    do: %{cursor | span: %{span | worker: cursor.stream.slot}}

  defp follow(:done, span) do
    finish(span, :done)
    :done
  end

  defp follow({:failed, error} = failed, span) do
    fail(span, error)
    failed
  end

  defp part(span, count) do
    duration = System.monotonic_time() - span.waiting_since

    if Events.telemetry?(span.flags) do
      Events.execute([:stream, :part], %{duration: duration, items: count}, span.metadata)
    end

    %{span | parts: span.parts + 1, items: span.items + count}
  end

  @doc "Its reader has closed it before its end."
  @spec closed(t() | nil) :: term()
  def closed(nil), do: :ok
  def closed(span), do: finish(span, :closed)

  defp finish(span, reason) do
    tell(span, :stop, %{reason: reason})
    record(span, :ok, nil, %{"end" => Atom.to_string(reason)})
  end

  defp fail(span, %Error{} = error) do
    tell(span, :exception, %{error: error, kind: :error, reason: error, stacktrace: []})
    record(span, :error, Exception.message(error), %{})
  end

  defp tell(span, event, facts) do
    if Events.telemetry?(span.flags) do
      now = System.monotonic_time()

      measurements = %{
        duration: now - span.started,
        monotonic_time: now,
        parts: span.parts,
        items: span.items
      }

      Events.execute([:stream, event], measurements, Map.merge(span.metadata, facts))
    end
  end

  defp record(span, status, message, attributes) do
    if Events.recording?(span.flags) do
      Traces.record(%{
        name: CallSpan.name(span.metadata),
        kind: :stream,
        context: span.context,
        parent: span.parent,
        system_time: span.system_time,
        duration: System.monotonic_time() - span.started,
        status: status,
        message: message,
        attributes: Map.merge(attributes, %{"items" => span.items, "parts" => span.parts}),
        pool: span.handle.name,
        worker: span.worker
      })
    end
  end
end
