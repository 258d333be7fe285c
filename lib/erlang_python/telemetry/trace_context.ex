defmodule ErlangPython.Telemetry.TraceContext do
  @moduledoc false
  # A place in a trace (pure): W3C Trace Context, https://www.w3.org/TR/trace-context/. Ids are bytes.

  @enforce_keys [:trace_id, :span_id, :flags]
  defstruct @enforce_keys ++ [state: ""]

  @typedoc "`state` is what other tracing systems have added, as a `tracestate`; empty if there is none."
  @type t :: %__MODULE__{
          trace_id: <<_::128>>,
          span_id: <<_::64>>,
          flags: byte(),
          state: String.t()
        }

  # 512 characters are to be passed on, longer ones may be. Headers of HTTP have so many at most.
  @longest_state 8_192

  @no_trace <<0::128>>
  @no_span <<0::64>>
  @sampled 1

  # The bits of `mode`, docs/protocol.md, `TRACED`.
  @timed 1
  @recorded 2
  @with_state 4

  @doc "Reads a `traceparent`. A later version than ours may have more behind what is known of it."
  @spec parse(term()) :: {:ok, t()} | :error
  def parse(
        <<version::binary-2, ?-, trace::binary-32, ?-, span::binary-16, ?-, flags::binary-2>>
      ),
      do: parse(version, trace, span, flags)

  def parse(
        <<version::binary-2, ?-, trace::binary-32, ?-, span::binary-16, ?-, flags::binary-2, ?-,
          _more::binary>>
      )
      when version != "00",
      do: parse(version, trace, span, flags)

  def parse(_other), do: :error

  defp parse(version, trace, span, flags) do
    with {:ok, <<version>>} when version < 255 <- hex(version),
         {:ok, trace_id} when trace_id != @no_trace <- hex(trace),
         {:ok, span_id} when span_id != @no_span <- hex(span),
         {:ok, <<flags>>} <- hex(flags) do
      {:ok, %__MODULE__{trace_id: trace_id, span_id: span_id, flags: flags}}
    else
      _invalid -> :error
    end
  end

  defp hex(text), do: Base.decode16(text, case: :lower)

  @spec format(t()) :: String.t()
  def format(context),
    do: "00-#{trace_id(context)}-#{span_id(context)}-#{hex_of(<<context.flags>>)}"

  @spec trace_id(t()) :: String.t()
  def trace_id(context), do: hex_of(context.trace_id)

  @spec span_id(t()) :: String.t()
  def span_id(context), do: hex_of(context.span_id)

  @spec hex_of(binary()) :: String.t()
  def hex_of(bytes), do: Base.encode16(bytes, case: :lower)

  @doc "Is it the text of a `tracestate`? What stands in it is its authors' business."
  @spec state?(term()) :: boolean()
  def state?(text) do
    is_binary(text) and byte_size(text) <= @longest_state and
      for(<<byte <- text>>, byte not in ?\s..?~ and byte != ?\t, do: byte) == []
  end

  @doc "One that is none is left behind."
  @spec put_state(t(), term()) :: t()
  def put_state(context, state),
    do: if(state?(state), do: %{context | state: state}, else: context)

  @doc "Do they name the same span?"
  @spec same?(t(), t() | nil) :: boolean()
  def same?(%{span_id: id, trace_id: trace_id}, %{span_id: id, trace_id: trace_id}), do: true
  def same?(_context, _other), do: false

  @doc "A new span below another, or the first of a new trace."
  @spec child(t() | nil) :: t()
  def child(nil),
    do: %__MODULE__{
      trace_id: :crypto.strong_rand_bytes(16),
      span_id: :crypto.strong_rand_bytes(8),
      flags: @sampled
    }

  def child(context), do: %{context | span_id: :crypto.strong_rand_bytes(8)}

  @doc "What `TRACED` says of a request; nil if there is nothing to say."
  @spec header(t() | nil, timed? :: boolean(), recorded? :: boolean()) :: binary() | nil
  def header(nil, false, _recorded?), do: nil
  def header(nil, true, _recorded?), do: <<@timed, @no_trace::binary, @no_span::binary, 0>>

  def header(context, timed?, recorded?) do
    mode = if(timed?, do: @timed, else: 0) + if recorded?, do: @recorded, else: 0
    place = <<context.trace_id::binary, context.span_id::binary, context.flags>>

    case context.state do
      "" -> <<mode, place::binary>>
      state -> <<mode + @with_state, place::binary, byte_size(state)::16, state::binary>>
    end
  end

  @doc "Reads what a callback carries."
  @spec unpack(term()) :: t() | nil
  def unpack(<<trace_id::binary-16, span_id::binary-8, flags, state::binary>>)
      when trace_id != @no_trace and span_id != @no_span,
      do: put_state(%__MODULE__{trace_id: trace_id, span_id: span_id, flags: flags}, state)

  def unpack(_none), do: nil
end
