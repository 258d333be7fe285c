defmodule ErlangPython.ErlangFace.Logging do
  @moduledoc false
  # Python's `logging` in every worker, and in those that start later.

  alias ErlangPython.ErlangFace.{Reason, Text, Workers}

  # Python's names for Erlang's levels.
  @levels %{
    debug: "DEBUG",
    info: "INFO",
    notice: "INFO",
    warning: "WARNING",
    error: "ERROR",
    critical: "CRITICAL",
    alert: "CRITICAL",
    emergency: "CRITICAL"
  }

  @spec configure(term()) :: :ok | {:error, Reason.t()}
  def configure(options) when is_list(options) do
    if not List.improper?(options) and Enum.all?(options, &match?({_key, _value}, &1)),
      do: options |> Map.new() |> configure(),
      else: {:error, :invalid_args}
  end

  def configure(options) when is_map(options) do
    with [] <- Map.keys(options) -- [:level, :format],
         {:ok, level} <- level(options),
         {:ok, format} <- format(options),
         {:ok, _nothing} <-
           Workers.values("_logging", "configure", [level, format], {:replay, __MODULE__}) do
      :ok
    else
      {:error, reason} -> {:error, reason}
      _invalid -> {:error, :invalid_args}
    end
  end

  def configure(_other), do: {:error, :invalid_args}

  defp level(%{level: level}), do: Map.fetch(@levels, level)
  defp level(_unsaid), do: {:ok, "INFO"}

  defp format(%{format: format}), do: Text.code(format)
  defp format(_unsaid), do: {:ok, nil}
end
