defmodule ErlangPython.LogEvents do
  @moduledoc false
  # What is logged, as messages: who waits for these waits for no time.

  @doc "Sends the test `{:logged, level, text}` for each event, until the test ends."
  def forward do
    test = self()
    handler = :"log_events_#{System.unique_integer([:positive])}"
    :ok = :logger.add_handler(handler, __MODULE__, %{config: test})
    ExUnit.Callbacks.on_exit(fn -> :logger.remove_handler(handler) end)
  end

  @doc false
  def log(%{level: level, msg: message}, %{config: test}),
    do: send(test, {:logged, level, text(message)})

  defp text({:string, text}), do: IO.chardata_to_string(text)
  defp text({:report, report}), do: inspect(report)

  defp text({format, arguments}),
    do: format |> :io_lib.format(arguments) |> IO.chardata_to_string()
end
