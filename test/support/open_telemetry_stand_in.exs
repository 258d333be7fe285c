# What is used of Erlang's OpenTelemetry API, for machines on which that can't be had: a context per process, and the
# W3C propagator, which writes the current span into a carrier and reads it from one. Made only where the real
# one is missing; its value is the list of the modules made.

if Code.ensure_loaded?(:otel_ctx) do
  []
else
  defmodule :otel_ctx do
    @key :"$__current_otel_ctx"
    def new, do: %{}
    def get_current, do: Process.get(@key, %{})
    def attach(context), do: Process.put(@key, context)
  end

  defmodule :otel_propagator_text_map do
    def inject_from(context, propagator, carrier),
      do: propagator.inject(context, carrier, &[{&1, &2} | &3], [])

    def extract_to(context, propagator, carrier),
      do: propagator.extract(context, carrier, &keys/1, &:proplists.get_value/2, [])

    defp keys(carrier), do: Enum.map(carrier, fn {key, _value} -> key end)
  end

  defmodule :otel_propagator_trace_context do
    def inject(%{traceparent: text} = context, carrier, set, []) do
      carrier = set.("traceparent", text, carrier)
      if state = context[:tracestate], do: set.("tracestate", state, carrier), else: carrier
    end

    def inject(_context, carrier, _set, []), do: carrier

    # As the real one, which knows no other flags.
    def extract(context, carrier, _keys, get, []) do
      case get.("traceparent", carrier) do
        <<"00-", _ids::binary-49, "-0", flag>> = text when flag in [?0, ?1] ->
          context = Map.put(context, :traceparent, text)

          case get.("tracestate", carrier) do
            :undefined -> context
            state -> Map.put(context, :tracestate, state)
          end

        _invalid ->
          context
      end
    end
  end

  [:otel_ctx, :otel_propagator_text_map, :otel_propagator_trace_context]
end
