defmodule ErlangPython.ErlangFace.Venv do
  @moduledoc false
  # Environments and folders that are added to workers that run already.

  alias ErlangPython.ErlangFace.{Calls, Reason, Text, Workers}

  @spec activate(term()) :: :ok | {:error, Reason.t()}
  def activate(path) do
    with {:ok, full} <- expand(path) do
      case Workers.values("_venv", "activate", [full], {:replay, __MODULE__}) do
        {:ok, _nothing} -> :ok
        {:error, {:InvalidVenv, _message}} -> {:error, {:invalid_venv, path}}
        {:error, reason} -> {:error, reason}
      end
    end
  end

  @spec deactivate() :: :ok | {:error, Reason.t()}
  def deactivate do
    with {:ok, _nothing} <- Workers.values("_venv", "deactivate", [], {:forget, __MODULE__}),
         do: :ok
  end

  @spec info() :: Calls.result()
  def info, do: Calls.call("erlang_python_worker._venv", "info", [])

  @spec add_path(term()) :: :ok | {:error, Reason.t()}
  def add_path(path) do
    with {:ok, full} <- expand(path),
         {:ok, _nothing} <-
           Workers.values("_venv", "add_path", [full], {:replay, {__MODULE__, full}}),
         do: :ok
  end

  # A worker's current folder may be another one.
  defp expand(path) do
    with {:ok, text} <- Text.name(path) do
      if text == "" or String.contains?(text, <<0>>),
        do: {:error, :invalid_args},
        else: {:ok, Path.expand(text)}
    end
  end
end
