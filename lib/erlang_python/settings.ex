defmodule ErlangPython.Settings do
  @moduledoc false
  # The application's settings: a name that nobody reads would have no effect in silence.

  alias ErlangPython.Pool.Options
  alias ErlangPython.UnknownOption

  require Logger

  @known [
    :pools,
    # Of all pools.
    :python,
    :venv,
    :env,
    :cd,
    :paths,
    :preload,
    # Of the machine.
    :runtime_dir,
    :wheels,
    # Of the application.
    :send_to,
    :state_limit,
    :display,
    # Of the default pool, as the Erlang face names them.
    :num_workers,
    :num_async_workers,
    :num_subinterp_workers,
    :max_concurrent
  ]

  @spec known() :: [atom()]
  def known, do: @known

  # What OTP and the tracing keep beside the settings.
  @others [:included_applications, ErlangPython.Telemetry.Events]

  @doc "Logs a warning for each setting that does not exist."
  @spec warn(keyword()) :: :ok
  def warn(settings) do
    for key <- Keyword.keys(settings) -- (@others ++ @known), do: Logger.warning(text(key))
    :ok
  end

  defp text(key) when is_map_key(%Options{}, key) do
    "config :erlang_python, #{key}: ... has no effect: it is an option of a pool, " <>
      "as in pools: [[name: :default, #{key}: ...]]"
  end

  defp text(key), do: UnknownOption.text("setting of :erlang_python,", key, @known, "")
end
