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
    :reload,
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

  @doc "The names of the processes that Python may send to."
  @spec send_to!() :: [atom()]
  def send_to! do
    names = Application.get_env(:erlang_python, :send_to, [])

    if is_list(names) and Enum.all?(names, &is_atom/1),
      do: names,
      else: expected!(:send_to, "a list of names of processes, which are atoms", names)
  end

  @doc "The limit of the Erlang face, if it is set."
  @spec max_concurrent!() :: {:ok, pos_integer()} | :error
  def max_concurrent! do
    case Application.fetch_env(:erlang_python, :max_concurrent) do
      {:ok, max} when not is_integer(max) or max < 1 ->
        expected!(:max_concurrent, "a positive integer", max)

      set_or_not ->
        set_or_not
    end
  end

  @doc "Raises `ArgumentError` for a setting's value."
  @spec expected!(atom(), String.t(), term()) :: no_return()
  def expected!(key, what, got) do
    raise ArgumentError,
          "expected config :erlang_python, #{key}: ... to be #{what}, got: #{inspect(got)}"
  end

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
