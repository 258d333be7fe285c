defmodule ErlangPython.Callbacks.Services do
  @moduledoc false
  # What the library itself offers to Python: docs/protocol.md, `SERVICE`.

  alias ErlangPython.Callbacks.{Asker, Functions, Invocation, Origin}
  alias ErlangPython.{Error, Iterator, Request, Settings}
  alias ErlangPython.Pool.Pending
  alias ErlangPython.State.Table

  @spec call(String.t(), list(), Origin.t()) ::
          {:ok, term(), :elixir} | {:error, Invocation.failure()}
  def call("registered", [name], _origin) when is_binary(name), do: ok(Functions.member?(name))

  def call("send", [name, message], _origin) when is_binary(name) do
    with {:ok, pid} <- allowed_process(name) do
      send(pid, message)
      ok(nil)
    end
  end

  def call("next", [pid, most], origin) when is_pid(pid) and is_integer(most) and most > 0 do
    case Iterator.next(pid, most, origin.worker) do
      {:ok, items, last?} -> ok([items, last?])
      {:error, kind, reason, stacktrace} -> {:error, Invocation.failure(kind, reason, stacktrace)}
    end
  end

  def call("read_line", [], origin) do
    with leader when is_pid(leader) <- Asker.group_leader(origin.handle, origin.parent),
         line when is_binary(line) <- IO.gets(leader, "") do
      ok(line)
    else
      _nobody_or_end -> ok("")
    end
  end

  def call("time_left", [id], origin) when is_integer(id) do
    case Pending.deadline(origin.handle, id) do
      deadline when is_integer(deadline) -> ok(Request.remaining(deadline))
      _none -> ok(nil)
    end
  end

  def call("state_get", [key], _origin) do
    case Table.fetch(key) do
      {:ok, value} -> ok([true, value])
      :error -> ok([false, nil])
    end
  end

  def call("state_set", [key, value], _origin) do
    with {:error, error} <- Table.put(key, value), do: too_large(error), else: (:ok -> ok(nil))
  end

  def call("state_delete", [key], _origin) do
    Table.delete(key)
    ok(nil)
  end

  def call("state_keys", [], _origin), do: ok(Table.keys())

  def call("state_clear", [], _origin) do
    Table.clear()
    ok(nil)
  end

  def call("state_incr", [key, by], _origin) when is_integer(by) do
    case Table.add(key, by) do
      {:ok, value} -> ok(value)
      {:error, %Error{} = error} -> too_large(error)
      {:error, message} -> {:error, {"type", [message]}}
    end
  end

  def call(name, args, _origin),
    do: unknown("there is no service #{inspect(name)} that takes #{inspect(args)}")

  defp ok(value), do: {:ok, value, :elixir}
  defp too_large(error), do: {:error, Invocation.refused(error)}
  defp unknown(message), do: {:error, {"unknown", [message]}}

  # Compared as text: nothing from the wire makes an atom.
  defp allowed_process(name) do
    case Enum.find(Settings.send_to!(), &(Atom.to_string(&1) in [name, "Elixir." <> name])) do
      nil ->
        unknown(
          "no process #{inspect(name)} is allowed: add its name to " <>
            "config :erlang_python, send_to: [...]"
        )

      destination ->
        case Process.whereis(destination) do
          nil -> unknown("no process is registered as #{inspect(destination)} now")
          pid -> {:ok, pid}
        end
    end
  end
end
