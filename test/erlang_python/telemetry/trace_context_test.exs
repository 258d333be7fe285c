defmodule ErlangPython.Telemetry.TraceContextTest do
  use ExUnit.Case, async: true

  alias ErlangPython.Request.{Message, Options, Reply}
  alias ErlangPython.Telemetry.TraceContext
  alias ErlangPython.Vectors

  @trace "0af7651916cd43dd8448eb211c80319c"
  @span "b7ad6b7169203331"
  @valid "00-#{@trace}-#{@span}-01"

  test "a traceparent is read and written" do
    assert {:ok, context} = TraceContext.parse(@valid)
    assert {TraceContext.trace_id(context), TraceContext.span_id(context)} == {@trace, @span}
    assert TraceContext.format(context) == @valid
    assert {:ok, %{flags: 0}} = TraceContext.parse("00-#{@trace}-#{@span}-00")
  end

  # W3C Trace Context, "Versioning of traceparent".
  test "a later version is read as far as it is known" do
    assert {:ok, context} = TraceContext.parse("cc-#{@trace}-#{@span}-01-what-comes")
    assert TraceContext.format(context) == @valid
    assert {:ok, _context} = TraceContext.parse("cc-#{@trace}-#{@span}-01")
  end

  for {what, text} <- [
        {"no text", nil},
        {"an empty text", ""},
        {"too little", "00-#{@trace}-#{@span}"},
        {"too much for its version", @valid <> "-x"},
        {"more without a dash", "cc-#{@trace}-#{@span}-01x"},
        {"version ff", "ff-#{@trace}-#{@span}-01"},
        {"a version that is no number", "zz-#{@trace}-#{@span}-01"},
        {"upper case", String.upcase(@valid)},
        {"a trace id of zeros", "00-#{String.duplicate("0", 32)}-#{@span}-01"},
        {"a span id of zeros", "00-#{@trace}-#{String.duplicate("0", 16)}-01"},
        {"flags that are no number", "00-#{@trace}-#{@span}-0g"},
        {"spaces", " " <> @valid},
        {"another type", 7}
      ] do
    test "#{what} is none" do
      assert TraceContext.parse(unquote(text)) == :error
    end
  end

  test "a child is in the same trace, the first of a trace in a new one" do
    {:ok, context} = TraceContext.parse(@valid)
    child = TraceContext.child(context)
    assert child.trace_id == context.trace_id
    assert child.span_id != context.span_id
    refute TraceContext.same?(child, context)
    assert TraceContext.child(nil).trace_id != TraceContext.child(nil).trace_id
  end

  test "what a request brings says what is asked for" do
    {:ok, context} = TraceContext.parse(@valid)
    assert TraceContext.header(nil, false, false) == nil
    assert <<1, 0::200>> = TraceContext.header(nil, true, false)
    assert <<3, packed::binary-25>> = TraceContext.header(context, true, true)
    assert TraceContext.unpack(packed) == context
    stated = TraceContext.put_state(context, "a=1,b=2")
    assert <<7, ^packed::binary-25, 7::16, "a=1,b=2">> = TraceContext.header(stated, true, true)
    assert TraceContext.unpack(packed <> "a=1,b=2") == stated
    assert TraceContext.child(stated).state == "a=1,b=2"
    assert TraceContext.unpack(<<0::200>>) == nil
    assert TraceContext.unpack(nil) == nil
  end

  test "a tracestate is printable, and not too long" do
    {:ok, context} = TraceContext.parse(@valid)

    for good <- [
          "",
          "a=1",
          "congo=t61rcWkgMzE, rojo=00f067aa0ba902b7",
          String.duplicate("x", 8_192)
        ],
        do: assert(TraceContext.put_state(context, good).state == good)

    for bad <- [nil, :a, ~c"a=1", "a=\n", "a=é", <<0>>, String.duplicate("x", 8_193)],
        do: assert({bad, TraceContext.put_state(context, bad)} == {bad, context})
  end

  describe "the golden messages" do
    setup do
      golden =
        for [name, _direction, hex | _columns] <- Vectors.rows("messages.tsv"),
            into: %{},
            do: {name, hex |> String.split() |> Enum.map(&Vectors.bytes/1)}

      %{golden: golden}
    end

    test "a traced request is written so", %{golden: %{"TRACED" => [golden]}} do
      {:ok, context} = TraceContext.parse(@valid)
      trace = TraceContext.header(context, true, true)
      options = %Options{kwargs: nil, trace: trace}
      {:ok, wire} = Message.encode({:call, "math", "sqrt", [16]}, 7, options, 1_000)
      # In a frame of ZMTP: flags and size come first.
      assert <<0, _size, ^golden::binary>> = IO.iodata_to_binary(wire)
    end

    test "one with a tracestate is written so", %{
      golden: %{"TRACED with a tracestate" => [golden]}
    } do
      {:ok, context} = TraceContext.parse(@valid)
      trace = context |> TraceContext.put_state("a=1,b=2") |> TraceContext.header(true, true)
      options = %Options{kwargs: nil, trace: trace}
      {:ok, wire} = Message.encode({:call, "math", "sqrt", [16]}, 7, options, 1_000)
      assert <<0, _size, ^golden::binary>> = IO.iodata_to_binary(wire)
    end

    test "a timed end is read so", %{golden: %{"TIMED" => frames}} do
      assert Reply.read(frames, :elixir) == {:ok, 4.0}
    end
  end
end
