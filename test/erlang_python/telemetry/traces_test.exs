defmodule ErlangPython.Telemetry.TracesTest do
  # Not async: tracing is on for all pools meanwhile.
  use ErlangPython.PoolCase, async: false

  alias ErlangPython.{StandIn, Telemetry}
  alias ErlangPython.Telemetry.{TraceContext, Traces}

  @traceparent "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

  setup do
    Telemetry.clear_traces()
    Telemetry.enable_tracing()

    on_exit(fn ->
      Telemetry.disable_tracing()
      Telemetry.clear_traces()
    end)
  end

  # Spans by names; there is one of each.
  defp spans(names) do
    spans = Telemetry.get_traces()
    assert spans |> Enum.map(& &1.name) |> Enum.sort() == Enum.sort(names)
    Map.new(spans, &{&1.name, &1})
  end

  defp register(name, fun) do
    ErlangPython.register(name, fun)
    on_exit(fn -> ErlangPython.unregister(name) end)
  end

  test "a call is recorded with its times and its worker" do
    pool = start_pool(workers: 1)
    before = :os.system_time(:microsecond)
    {:ok, nil} = ErlangPython.call(:time, :sleep, [0.01], pool: pool)
    %{"time.sleep" => span} = spans(["time.sleep"])
    assert %{kind: :call, parent_id: nil, status: :ok, pool: ^pool, worker: 1} = span
    assert %{attributes: %{"operation" => "call"}, events: [], message: nil} = span
    assert span.start_time in before..:os.system_time(:microsecond)
    assert span.duration_us in 10_000..10_000_000
    assert_in_delta span.end_time - span.start_time, span.duration_us, 1
    assert byte_size(span.trace_id) == 32 and byte_size(span.span_id) == 16
  end

  test "a failure is recorded as such" do
    pool = start_pool(workers: 1)
    {:error, error} = ErlangPython.call(:math, :sqrt, [-1], pool: pool)
    %{"math.sqrt" => span} = spans(["math.sqrt"])
    assert %{status: :error, message: text, attributes: %{"operation" => "call"}} = span
    assert text == Exception.message(error)
  end

  test "so is what raises in the caller" do
    pool = start_pool(workers: 1)
    arguments = [%ErlangPython.TestStructs.Broken{}]

    error =
      assert_raise RuntimeError, fn ->
        ErlangPython.call(:builtins, :str, arguments, pool: pool)
      end

    assert %{"builtins.str" => %{status: :error, message: text}} = spans(["builtins.str"])
    assert text == "** (RuntimeError) " <> Exception.message(error)
  end

  test "streams and callbacks that fail say why" do
    pool = start_pool(workers: 1)
    register(:trace_fail, fn -> raise "no tea" end)

    assert_raise Error, fn ->
      ErlangPython.stream_eval("(erlang.trace_fail() for n in range(1))", %{}, pool: pool)
      |> Enum.to_list()
    end

    failed = Map.new(Telemetry.get_traces(), &{&1.kind, &1})
    assert %{status: :error, message: message} = failed.callback
    assert message =~ "no tea"
    assert %{status: :error, message: message, attributes: %{"items" => 0}} = failed.stream
    assert message =~ "no tea"
  end

  @nested """
  import erlang
  with erlang.Span("python", rows=2) as span:
      span.add_event("half", n=1)
      value = erlang.trace_deeper(1)
  value
  """

  for workers <- [1, 2] do
    test "spans know those around them, over both languages and back (#{workers} workers)" do
      pool = start_pool(workers: unquote(workers))

      register(:trace_deeper, fn n ->
        {:ok, value} = ErlangPython.eval("erlang.trace_deepest(#{n})", %{}, pool: pool)
        value
      end)

      register(:trace_deepest, fn n ->
        task = fn -> ErlangPython.call!(:operator, :add, [n, 1], pool: pool) end
        task |> Task.async() |> Task.await()
      end)

      assert {:ok, 2} = ErlangPython.run(@nested, %{}, pool: pool)

      chain = ["run", "python", "trace_deeper", "eval", "trace_deepest", "operator.add"]
      spans = spans(chain)
      assert spans |> Map.values() |> Enum.map(& &1.trace_id) |> Enum.uniq() |> length() == 1
      assert spans["run"].parent_id == nil

      for [above, below] <- Enum.chunk_every(chain, 2, 1, :discard),
          do: assert(spans[below].parent_id == spans[above].span_id, "#{below} below #{above}")

      assert %{kind: :python, attributes: %{"rows" => 2}, worker: worker} = spans["python"]
      assert worker in 1..unquote(workers)
      assert [%{name: "half", attributes: %{"n" => 1}, time: time}] = spans["python"].events
      assert time in spans["python"].start_time..(spans["python"].end_time + 1)
      assert spans["trace_deeper"].kind == :callback
      assert spans["eval"].start_time >= spans["trace_deeper"].start_time
    end
  end

  test "a callback into another pool stays in the trace" do
    one = start_pool(workers: 1)
    other = start_pool(workers: 1)
    register(:trace_other, fn -> ErlangPython.call!(:math, :sqrt, [4], pool: other) end)
    {:ok, 2.0} = ErlangPython.eval("erlang.trace_other()", %{}, pool: one)
    spans = spans(["eval", "trace_other", "math.sqrt"])
    assert spans["math.sqrt"].parent_id == spans["trace_other"].span_id
    assert spans["math.sqrt"].pool == other
  end

  test "callbacks of coroutines and of threads are in the trace" do
    pool = start_pool(workers: 1)
    register(:trace_async, fn -> ErlangPython.call!(:math, :sqrt, [4], pool: pool) end)
    register(:trace_thread, fn -> 1 end)

    code = """
    import asyncio, erlang, threading
    with erlang.Span("outer"):
        thread = threading.Thread(target=erlang.trace_thread)
        thread.start()
        got = await erlang.acall("trace_async")
        await asyncio.to_thread(thread.join)
    got
    """

    assert {:ok, 2.0} = ErlangPython.run(code, %{}, pool: pool)
    spans = spans(["run", "outer", "trace_async", "trace_thread", "math.sqrt"])
    assert spans["trace_async"].parent_id == spans["outer"].span_id
    assert spans["trace_thread"].parent_id == spans["outer"].span_id
    assert spans["math.sqrt"].parent_id == spans["trace_async"].span_id
  end

  test "all of a stream is below its span" do
    pool = start_pool(workers: 1)

    :ok =
      ErlangPython.exec(
        """
        import erlang
        def items():
            with erlang.Span("body"):
                for n in range(3):
                    with erlang.Span(f"item {n}"): yield n
        """,
        %{},
        pool: pool
      )

    Telemetry.clear_traces()
    assert [0, 1, 2] = ErlangPython.stream(:__main__, :items, [], pool: pool) |> Enum.to_list()
    spans = Telemetry.get_traces()
    assert [%{kind: :stream} = stream] = Enum.filter(spans, &(&1.kind == :stream))
    assert %{status: :ok, attributes: %{"items" => 3, "end" => "done"}, worker: 1} = stream
    assert [opening] = Enum.filter(spans, &(&1.kind == :call))
    assert opening.parent_id == stream.span_id
    body = Enum.find(spans, &(&1.name == "body"))
    assert body.parent_id == opening.span_id
    assert spans |> Enum.map(& &1.trace_id) |> Enum.uniq() == [stream.trace_id]
    assert Enum.count(spans, &String.starts_with?(&1.name, "item ")) == 3
  end

  test "calls belong to the trace that they are told" do
    pool = start_pool(workers: 1)
    code = "import erlang; erlang.current_request().traceparent"
    {:ok, own} = ErlangPython.run(code, %{}, pool: pool, traceparent: @traceparent)
    %{"run" => span} = spans(["run"])

    assert {span.trace_id, span.parent_id} ==
             {"0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"}

    assert own == "00-#{span.trace_id}-#{span.span_id}-01"
  end

  test "without tracing a trace goes through as it is, and nothing is recorded" do
    pool = start_pool(workers: 1)
    Telemetry.disable_tracing()
    refute Telemetry.tracing?()
    code = "import erlang; erlang.current_request().traceparent"
    register(:trace_again, fn -> ErlangPython.run!(code, %{}, pool: pool) end)
    told = [pool: pool, traceparent: @traceparent]
    assert {:ok, @traceparent} = ErlangPython.run(code, %{}, told)
    assert {:ok, @traceparent} = ErlangPython.run("erlang.trace_again()", %{}, told)
    assert {:ok, nil} = ErlangPython.run(code, %{}, pool: pool)
    assert {:ok, nil} = ErlangPython.run(code, %{}, pool: pool, traceparent: nil)
    assert {:ok, 1} = ErlangPython.run("with erlang.Span('s'): pass\n1", %{}, told)

    assert [@traceparent] =
             ErlangPython.stream_eval("[#{"erlang.current_request().traceparent"}]", %{}, told)
             |> Enum.to_list()

    task = ErlangPython.async(:__main__, "erlang.current_request", [], told)
    assert {:error, %Error{kind: :encode}} = Task.await(task)
    assert Telemetry.get_traces() == []
  end

  test "a tracestate goes through both languages and back" do
    pool = start_pool(workers: 1)
    code = "import erlang; erlang.current_request().tracestate"
    register(:trace_state, fn -> ErlangPython.run!(code, %{}, pool: pool) end)
    state = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"
    told = [pool: pool, traceparent: @traceparent, tracestate: state]

    for switch <- [&Telemetry.enable_tracing/0, &Telemetry.disable_tracing/0] do
      switch.()
      assert {:ok, ^state} = ErlangPython.run(code, %{}, told)
      assert {:ok, ^state} = ErlangPython.run("erlang.trace_state()", %{}, told)

      assert [^state] =
               ErlangPython.stream_eval("[erlang.current_request().tracestate]", %{}, told)
               |> Enum.to_list()

      # Also of one with an out-of-band frame, and of one that is pinned to a context.
      {:ok, context} = ErlangPython.Context.open(pool: pool, mode: :shared)
      in_context = told |> Keyword.delete(:pool) |> Keyword.put(:context, context)
      data = ErlangPython.bytes(:binary.copy("x", 100_000))
      measure = "import erlang; (len(data), erlang.current_request().tracestate)"
      assert {:ok, {100_000, ^state}} = ErlangPython.run(measure, %{data: data}, in_context)

      assert {:ok, ""} = ErlangPython.run(code, %{}, pool: pool, traceparent: @traceparent)
      assert {:ok, ""} = ErlangPython.run(code, %{}, pool: pool, tracestate: state)
    end

    Telemetry.enable_tracing()
    code = "import erlang\nwith erlang.Span('s') as span: pass\nspan.tracestate"
    assert {:ok, ^state} = ErlangPython.run(code, %{}, told)

    for bad <- ["a=é", String.duplicate("x", 8_193), 7] do
      options = Keyword.put(told, :tracestate, bad)
      error = assert_raise ArgumentError, fn -> ErlangPython.eval("1", %{}, options) end
      assert Exception.message(error) =~ ":tracestate to be a W3C tracestate"
    end
  end

  test "a traceparent that is none is refused" do
    for bad <- ["", "00-abc", String.upcase(@traceparent), 7] do
      error = assert_raise ArgumentError, fn -> ErlangPython.eval("1", %{}, traceparent: bad) end
      assert Exception.message(error) =~ ":traceparent to be a W3C traceparent"
      assert Exception.message(error) =~ inspect(bad)
    end
  end

  test "tracing is switched in pools that run" do
    pool = start_pool(workers: 1)
    {:ok, 1} = ErlangPython.eval("1", %{}, pool: pool)
    assert Telemetry.tracing?()
    Telemetry.disable_tracing()
    {:ok, 1} = ErlangPython.eval("1", %{}, pool: pool)
    assert [_one] = Telemetry.get_traces()
    Telemetry.clear_traces()
    assert Telemetry.get_traces() == []
  end

  test "a flood is bounded, and what is lost is counted" do
    pool = start_pool(workers: 1)
    code = "import erlang\nfor n in range(15_000):\n    with erlang.Span(str(n)): pass\nn"
    assert {:ok, 14_999} = ErlangPython.run(code, %{}, pool: pool)
    spans = Telemetry.get_traces()
    assert length(spans) <= 10_000
    assert Telemetry.dropped() + length(spans) == 15_001
    assert {:ok, 1} = ErlangPython.eval("1", %{}, pool: pool)
    Telemetry.clear_traces()
    assert Telemetry.dropped() == 0
  end

  test "large spans are bounded by their size" do
    context = TraceContext.child(nil)
    texts = List.duplicate(String.duplicate("x", 10_000), 10)
    ids = [context.trace_id, context.span_id, nil]
    span = ["s"] ++ ids ++ [0, 0, "ok", nil, %{"texts" => texts}, []]
    {:ok, packed, []} = ErlangPython.MessagePack.encode([span])
    body = IO.iodata_to_binary([<<5::32, 1::32>>, packed])
    pool = start_pool(workers: 1)
    {:ok, handle} = ErlangPython.Pool.Handle.fetch(pool)
    for _ <- 1..1_000, do: :ok = Traces.receive_from(handle, 1, body)
    kept = length(Telemetry.get_traces())
    assert kept in 100..700
    assert Telemetry.dropped() == 1_000 * 5 + 1_000 - kept
    assert Traces.receive_from(handle, 1, <<1>>) == :error
  end

  test "what is no span counts as dropped, and harms no others" do
    context = TraceContext.child(nil)
    {trace, id} = {context.trace_id, context.span_id}
    span = fn name, tail -> [name, trace, id, nil, 0, 0, "ok", nil, %{}] ++ tail end

    broken = [
      span.("no events", [nil]),
      span.("an event of a wrong form", [[["event", nil, %{}]]]),
      span.("more events than that", [[["event", 0, %{}], ["event", 0]]]),
      ["no ids", nil, nil, nil, 0, 0, "ok", nil, %{}, []],
      ["a short id", trace, "id", nil, 0, 0, "ok", nil, %{}, []],
      ["a wrong parent", trace, id, 7, 0, 0, "ok", nil, %{}, []],
      ["a wrong message", trace, id, nil, 0, 0, "ok", 7, %{}, []],
      ["a short one"],
      7
    ]

    traces = Process.whereis(Traces)
    pool = start_pool(workers: 1)

    spans = broken ++ [span.("good", [[["event", 1_000, %{"a" => 1}]]])]
    {:ok, packed, []} = ErlangPython.MessagePack.encode(spans)
    body = IO.iodata_to_binary([<<0::32, length(spans)::32>>, packed])
    :ok = Traces.receive_from(handle(pool), 1, body)

    assert [%{name: "good", events: [event]}] = Telemetry.get_traces()
    assert event == %{name: "event", time: 1, attributes: %{"a" => 1}}
    assert Telemetry.dropped() == length(broken)
    assert Process.whereis(Traces) == traces
  end

  test "py:get_traces gives them to Erlang" do
    pool = start_pool(workers: 1)
    assert :py.enable_tracing() == :ok
    code = "import erlang\nwith erlang.Span('s', nothing=None, some=[1, None]): pass"
    :ok = ErlangPython.exec(code, %{}, pool: pool)
    assert {:ok, spans} = :py.get_traces()
    assert [%{name: "exec", parent_id: :undefined, worker: 1}, span] = spans
    assert %{name: "s", kind: :python, status: :unset, message: :undefined} = span
    assert span.attributes == %{"nothing" => :none, "some" => [1, :none]}
    assert :py.disable_tracing() == :ok
    assert :py.clear_traces() == :ok
    assert :py.get_traces() == {:ok, []}
  end

  test "a request without a worker has none, and one without a pool is not recorded" do
    pool = start_pool(workers: 1, max_message_size: 65_536)
    large = String.duplicate("x", 70_000)
    {:error, %{kind: :too_large}} = ErlangPython.eval("x", %{x: large}, pool: pool)
    assert [%{status: :error, worker: nil}] = Telemetry.get_traces()
    {:error, %{kind: :no_pool}} = ErlangPython.eval("1", %{}, pool: :nobody)
    assert [_one] = Telemetry.get_traces()
  end

  describe "with :telemetry" do
    setup do
      StandIn.telemetry()
    end

    test "spans of Python are events too, and lost ones are told" do
      pool = start_pool(workers: 1)
      test = self()
      id = make_ref()

      handler = fn event, measurements, metadata, _config ->
        send(test, {List.last(event), measurements, metadata})
      end

      events = [[:erlang_python, :span, :stop], [:erlang_python, :span, :dropped]]
      :ok = apply(:telemetry, :attach_many, [id, events, handler, nil])
      on_exit(fn -> Code.ensure_loaded?(:telemetry) && apply(:telemetry, :detach, [id]) end)

      code = """
      import erlang
      try:
          with erlang.Span("s", rows=1): int("x")
      except ValueError: pass
      erlang._span._tracer._dropped = 3
      with erlang.Span("t"): pass
      """

      :ok = ErlangPython.exec(code, %{}, pool: pool)
      assert_receive {:stop, measurements, %{name: "s"} = metadata}
      assert is_integer(measurements.duration) and is_integer(measurements.system_time)
      assert %{pool: ^pool, worker: 1, status: :error, attributes: %{"rows" => 1}} = metadata
      assert [%{name: "exception"}] = metadata.events

      assert %{trace_id: _, span_id: _, parent_id: _, message: "ValueError: invalid" <> _} =
               metadata

      assert_receive {:stop, _, %{name: "t"}}
      assert_receive {:dropped, %{count: 3}, %{pool: ^pool, worker: 1}}
    end
  end
end
