defmodule ErlangPython.Pool.NoPool do
  @moduledoc false
  # What the callers of a pool are told that is not there, or no longer (pure).

  alias ErlangPython.{Error, UnknownOption}
  alias ErlangPython.Pool.Handle

  @doc "There is none of this name; `others` are those that there are, of which one of this name starts just now."
  @spec missing(atom(), others :: [atom()]) :: Error.t()
  def missing(name, others) do
    if name in others,
      do: error(name, "the pool #{inspect(name)} is starting again, or about to end", :no),
      else: unknown(name, others)
  end

  defp unknown(name, others) do
    error(
      name,
      "there is no running pool #{inspect(name)}#{UnknownOption.meant(name, others, "")}: start {ErlangPython.Pool, name: " <>
        "#{inspect(name)}} under a supervisor or add it to config :erlang_python, :pools",
      :no
    )
  end

  @doc "None can be there."
  @spec not_started(atom()) :: Error.t()
  def not_started(name) do
    error(
      name,
      "the application :erlang_python is not running: call " <>
        "Application.ensure_all_started(:erlang_python) first, " <>
        "in Erlang application:ensure_all_started(erlang_python), " <>
        "or in a Mix task Mix.Task.run(\"app.start\")",
      :no
    )
  end

  @doc "It is configured, and can't start; workers have not been tried yet."
  @spec not_startable(atom(), reason :: term()) :: Error.t()
  def not_startable(name, reason) do
    with reason when not is_struct(reason, Error) <- start_error(reason),
         do: error(name, "the pool #{inspect(name)} could not start: #{why(reason)}", :no)
  end

  defp why({:shutdown, {:failed_to_start_child, _child, reason}}), do: why(reason)
  defp why(other), do: Exception.format_exit(other)

  @doc "What a supervisor says of a part of the pool that says in a sentence what it lacks; any other reason as it is."
  @spec start_error(reason :: term()) :: Error.t() | term()
  def start_error({:shutdown, {:failed_to_start_child, _part, text}}) when is_binary(text) do
    message = "the pool could not start: " <> text
    %Error{kind: :environment, message: message, executed: :no, details: %{output: []}}
  end

  def start_error(reason), do: reason

  @doc "It takes no more requests."
  @spec stopping(Handle.t()) :: Error.t()
  def stopping(%{name: name}), do: error(name, "the pool #{inspect(name)} is stopping", :no)

  @doc "It has ended."
  @spec stopped(Handle.t(), :no | :maybe) :: Error.t()
  def stopped(%{name: name}, executed),
    do: error(name, "the pool #{inspect(name)} has stopped", executed)

  @doc "The process that looks after its workers has ended, and the rest of it goes on."
  @spec crashed(Handle.t(), :no | :maybe) :: Error.t()
  def crashed(%{name: name}, executed) do
    error(
      name,
      "the process that looks after the workers of the pool #{inspect(name)} has crashed, and another takes its place",
      executed
    )
  end

  defp error(name, message, executed),
    do: %Error{kind: :no_pool, message: message, executed: executed, details: %{pool: name}}
end
