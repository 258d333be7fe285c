defmodule ErlangPython.Telemetry.OpenTelemetryTest do
  # Erlang's OpenTelemetry API, and Python's real one. Not async: it is there for all pools that start meanwhile.
  use ErlangPython.PoolCase, async: false

  alias ErlangPython.StandIn
  alias ErlangPython.Telemetry

  @traceparent "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
  @trace_id "0af7651916cd43dd8448eb211c80319c"
  @span_id "b7ad6b7169203331"

  @propagator :otel_propagator_trace_context

  setup_all do
    StandIn.open_telemetry()
  end

  # What a library does that starts a span in this process.
  defp attach(traceparent, tracestate \\ nil) do
    state = if tracestate, do: [{"tracestate", tracestate}], else: []
    carrier = [{"traceparent", traceparent} | state]
    context = text_map(:extract_to, [apply(:otel_ctx, :new, []), @propagator, carrier])
    apply(:otel_ctx, :attach, [context])
  end

  defp current do
    context = apply(:otel_ctx, :get_current, [])
    :proplists.get_value("traceparent", text_map(:inject_from, [context, @propagator, []]))
  end

  defp text_map(function, args), do: apply(:otel_propagator_text_map, function, args)

  @python """
  import erlang
  from opentelemetry import trace
  context = trace.get_current_span().get_span_context()
  [f"{context.trace_id:032x}", f"{context.span_id:016x}", context.is_remote]
  """

  test "the span of the calling process is the current one in Python" do
    pool = start_pool(workers: 1)
    assert {:ok, [_, "0000000000000000", _]} = ErlangPython.run(@python, %{}, pool: pool)
    attach(@traceparent)
    assert {:ok, [@trace_id, @span_id, true]} = ErlangPython.run(@python, %{}, pool: pool)
  end

  test "what other systems have added goes along, there and back" do
    pool = start_pool(workers: 1)
    test = self()

    ErlangPython.register(:otel_state, fn ->
      context = apply(:otel_ctx, :get_current, [])
      carrier = text_map(:inject_from, [context, @propagator, []])
      send(test, {:state, :proplists.get_value("tracestate", carrier)})
      ErlangPython.run!("import erlang; erlang.current_request().tracestate", %{}, pool: pool)
    end)

    on_exit(fn -> ErlangPython.unregister(:otel_state) end)

    code = """
    import erlang
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    above = trace.get_current_span().get_span_context().trace_state.to_header()
    trace.set_tracer_provider(TracerProvider())
    with trace.get_tracer("test").start_as_current_span("work"):
        inner = erlang.otel_state()
    [above, inner]
    """

    attach(@traceparent, "congo=t61,rojo=00f")

    assert {:ok, ["congo=t61,rojo=00f", "congo=t61,rojo=00f"]} =
             ErlangPython.run(code, %{}, pool: pool)

    assert_received {:state, "congo=t61,rojo=00f"}
  end

  test "also for tasks, and what is said explicitly wins" do
    pool = start_pool(workers: 1)

    :ok =
      ErlangPython.exec(
        @python <> "\ndef here(*args): return erlang.current_request().traceparent",
        %{},
        pool: pool
      )

    attach(@traceparent)
    task = ErlangPython.async(:__main__, :here, [], pool: pool)
    assert {:ok, @traceparent} = Task.await(task)

    assert [ok: @traceparent, ok: @traceparent] =
             [1, 2] |> ErlangPython.map(:__main__, :here, pool: pool) |> Enum.to_list()

    other = String.replace(@traceparent, "b7", "b8")
    assert {:ok, ^other} = ErlangPython.call(:__main__, :here, [], pool: pool, traceparent: other)
  end

  test "the span of Python's is the current one in a callback, whose calls belong below that" do
    pool = start_pool(workers: 1)
    test = self()

    ErlangPython.register(:otel_callback, fn ->
      send(test, {:current, current()})
      ErlangPython.run!("import erlang; erlang.current_request().traceparent", %{}, pool: pool)
    end)

    on_exit(fn -> ErlangPython.unregister(:otel_callback) end)

    code = """
    import erlang
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    trace.set_tracer_provider(TracerProvider())
    with trace.get_tracer("test").start_as_current_span("work") as span:
        context = span.get_span_context()
        inner = erlang.otel_callback()
    [f"00-{context.trace_id:032x}-{context.span_id:016x}-01", inner]
    """

    attach(@traceparent)
    assert {:ok, [work, inner]} = ErlangPython.run(code, %{}, pool: pool)
    assert "00-#{@trace_id}-" <> _ = work
    refute work == @traceparent
    assert_received {:current, ^work}
    assert String.slice(inner, 0, 53) == String.slice(work, 0, 53)
    # The caller's is what it was.
    assert current() == @traceparent
  end

  test "a span that a callback opens is nearer than that of Python" do
    pool = start_pool(workers: 1)
    own = "00-#{@trace_id}-00f067aa0ba902b7-01"

    ErlangPython.register(:otel_own, fn ->
      attach(own)
      ErlangPython.run!("import erlang; erlang.current_request().traceparent", %{}, pool: pool)
    end)

    on_exit(fn -> ErlangPython.unregister(:otel_own) end)
    attach(@traceparent)
    assert {:ok, ^own} = ErlangPython.eval("erlang.otel_own()", %{}, pool: pool)
  end

  test "while tracing is on, the call's span stands in between" do
    pool = start_pool(workers: 1)
    Telemetry.clear_traces()
    Telemetry.enable_tracing()
    on_exit(&Telemetry.disable_tracing/0)
    attach(@traceparent)
    ErlangPython.register(:otel_traced, fn -> ErlangPython.eval!("1", %{}, pool: pool) end)
    on_exit(fn -> ErlangPython.unregister(:otel_traced) end)
    assert {:ok, [@trace_id, above, true]} = ErlangPython.run(@python, %{}, pool: pool)
    assert {:ok, 1} = ErlangPython.eval("erlang.otel_traced()", %{}, pool: pool)
    assert [run, eval, callback, inner] = Telemetry.get_traces()
    assert {run.span_id, run.parent_id} == {above, @span_id}
    assert callback.parent_id == eval.span_id
    assert inner.parent_id == callback.span_id
    Telemetry.clear_traces()
  end
end
