defmodule ErlangPython.ErlangFace.Traces do
  @moduledoc false
  # `py:get_traces`: spans in Erlang's terms.

  alias ErlangPython.Telemetry

  @spec get() :: {:ok, [map()]}
  def get, do: {:ok, Enum.map(Telemetry.get_traces(), &span/1)}

  defp span(span) do
    undefined = for {key, nil} <- span, into: %{}, do: {key, :undefined}

    span
    |> Map.merge(undefined)
    |> Map.put(:attributes, values(span.attributes))
    |> Map.put(:events, Enum.map(span.events, &%{&1 | attributes: values(&1.attributes)}))
  end

  defp values(attributes), do: Map.new(attributes, fn {key, value} -> {key, value(value)} end)

  defp value(nil), do: :none
  defp value(values) when is_list(values), do: Enum.map(values, &value/1)
  defp value(value), do: value
end
