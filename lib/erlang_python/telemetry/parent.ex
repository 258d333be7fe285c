defmodule ErlangPython.Telemetry.Parent do
  @moduledoc false
  # The span below which the calling process's next request belongs.

  alias ErlangPython.Callbacks.Origin
  alias ErlangPython.Request.Options
  alias ErlangPython.Telemetry.{Events, OpenTelemetry, TraceContext}

  @doc "What was said wins over the process's own span, and that over the callback that it works on."
  @spec find(Options.t(), Events.flags()) :: TraceContext.t() | nil
  def find(%{traceparent: nil}, flags), do: own(flags) || Origin.trace()
  def find(%{traceparent: context, tracestate: nil}, _flags), do: context
  def find(%{traceparent: context, tracestate: state}, _flags), do: %{context | state: state}

  defp own(flags), do: if(Events.open_telemetry?(flags), do: OpenTelemetry.current())
end
