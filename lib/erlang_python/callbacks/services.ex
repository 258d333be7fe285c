defmodule ErlangPython.Callbacks.Services do
  @moduledoc false
  # What the library itself offers to Python: docs/protocol.md, `SERVICE`.

  alias ErlangPython.Callbacks.{Functions, Invocation}

  @spec call(String.t(), list()) :: {:ok, term(), :elixir} | {:error, Invocation.failure()}
  def call("registered", [name]) when is_binary(name),
    do: {:ok, Functions.member?(name), :elixir}

  def call("send", [name, message]) when is_binary(name) do
    case allowed(name) do
      nil ->
        message =
          "no process #{inspect(name)} is allowed: add its name to " <>
            "config :erlang_python, send_to: [...]"

        {:error, {"unknown", [message]}}

      destination ->
        case Process.whereis(destination) do
          nil ->
            {:error, {"unknown", ["no process is registered as #{inspect(destination)} now"]}}

          pid ->
            send(pid, message)
            {:ok, nil, :elixir}
        end
    end
  end

  def call(name, args),
    do: {:error, {"unknown", ["no service #{inspect(name)} takes #{length(args)} arguments"]}}

  # Compared as text: nothing from the wire makes an atom.
  defp allowed(name) do
    :erlang_python
    |> Application.get_env(:send_to, [])
    |> Enum.find(&(Atom.to_string(&1) in [name, "Elixir." <> name]))
  end
end
