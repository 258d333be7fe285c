defmodule ErlangPython.StandIn do
  @moduledoc false
  # Loads the stand-ins of libraries for one test module, and removes them after it: their mere presence changes
  # what pools do that start later.

  import ExUnit.Callbacks

  @doc "`:telemetry`, the real one where the machine has it."
  @spec telemetry() :: :ok
  def telemetry do
    if owner = load("telemetry_stand_in.exs") do
      on_exit(fn ->
        ref = Process.monitor(owner)
        Process.exit(owner, :kill)

        receive do
          {:DOWN, ^ref, :process, _pid, _reason} -> :ok
        end

        # Its end is worth a line in the log, and not in the output of the tests.
        ExUnit.CaptureLog.capture_log(fn -> Application.stop(:telemetry) end)
        Application.unload(:telemetry)
        remove([:telemetry])
      end)
    end

    :ok
  end

  @doc "The API of Erlang's OpenTelemetry."
  @spec open_telemetry() :: :ok
  def open_telemetry do
    made = load("open_telemetry_stand_in.exs")
    on_exit(fn -> remove(made) end)
    :ok
  end

  defp load(file) do
    {value, _bindings} = __DIR__ |> Path.join(file) |> Code.eval_file()
    value
  end

  defp remove(modules) do
    for module <- modules do
      :code.delete(module)
      :code.purge(module)
    end

    # Pools that started meanwhile and go on, as that of the docs does, look again who is there.
    ErlangPython.Telemetry.disable_tracing()
  end
end
