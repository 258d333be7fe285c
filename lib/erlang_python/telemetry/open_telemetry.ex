defmodule ErlangPython.Telemetry.OpenTelemetry do
  @moduledoc false
  # The context of Erlang's OpenTelemetry API in a process, where the application has that. It is
  # no dependency, so its functions are called by name.

  import Bitwise, only: [&&&: 2]

  alias ErlangPython.MessagePack.Optional
  alias ErlangPython.Request.Options
  alias ErlangPython.Telemetry.TraceContext

  # Of its API since 1.0; whatever propagators the application has chosen, this one is W3C's.
  @text_map :otel_propagator_text_map
  @propagator :otel_propagator_trace_context
  @contexts :otel_ctx

  # What was attached for a callback: as long as it is current, the process has opened no span below it.
  @attached {__MODULE__, :attached}

  @spec available?() :: boolean()
  def available? do
    Enum.all?([@contexts, @text_map, @propagator], &Optional.available?/1) and
      function_exported?(@text_map, :inject_from, 3)
  end

  @doc "The span that is current in the calling process, if it is one of that process's own."
  @spec current() :: TraceContext.t() | nil
  def current do
    carrier =
      apply(@text_map, :inject_from, [apply(@contexts, :get_current, []), @propagator, []])

    with {_key, text} <- List.keyfind(carrier, "traceparent", 0),
         {:ok, context} <- TraceContext.parse(text),
         false <- TraceContext.same?(context, Process.get(@attached)) do
      case List.keyfind(carrier, "tracestate", 0) do
        {_key, state} -> TraceContext.put_state(context, state)
        nil -> context
      end
    else
      _none -> nil
    end
  end

  @doc "Makes a span of Python's the current one of the calling process."
  @spec attach(TraceContext.t()) :: term()
  def attach(context) do
    # It knows no other flag than that of being sampled.
    parent = {"traceparent", TraceContext.format(%{context | flags: context.flags &&& 1})}
    carrier = if context.state == "", do: [parent], else: [parent, {"tracestate", context.state}]
    found = apply(@text_map, :extract_to, [apply(@contexts, :new, []), @propagator, carrier])
    apply(@contexts, :attach, [found])
    Process.put(@attached, context)
  end

  @doc "For a request that another process makes on behalf of the calling one."
  @spec carry(Options.t()) :: Options.t()
  def carry(%{traceparent: nil} = options) do
    if :erlang.function_exported(@text_map, :inject_from, 3),
      do: %{options | traceparent: current()},
      else: options
  end

  def carry(options), do: options
end
