defmodule ElixirCaller do
  # Elixir code as users write it, checked as py_caller.erl is: the main functions of both faces.

  @spec calls() :: [term()]
  def calls do
    {:ok, _root} = ErlangPython.call(:math, :sqrt, [16])
    {:ok, _root} = ErlangPython.call("math", "sqrt", [16], timeout: :infinity)
    :ok = ErlangPython.exec("import math", %{}, pool: :default)

    error =
      case ErlangPython.eval("x", [x: 1], timeout: 1_000) do
        {:ok, value} -> value
        {:error, %ErlangPython.Error{kind: :python, type: type}} -> type
        {:error, %ErlangPython.Error{kind: :timeout, executed: :maybe}} -> :timeout
        {:error, %ErlangPython.Error{traceback: [%{file: file} | _]}} -> file
      end

    task = ErlangPython.async(:math, :sqrt, [16])
    stream = ErlangPython.stream(:builtins, :range, [3])
    [error, Task.await(task), Enum.to_list(stream), ErlangPython.run!("1 + 1")]
  end

  @spec contexts() :: term()
  def contexts do
    {:ok, context} = ErlangPython.Context.open(mode: :shared)
    true = ErlangPython.Context.alive?(context)
    :ok = ErlangPython.Context.close(context)
    ErlangPython.with_context(fn -> ErlangPython.eval!("1") end)
  end

  @spec state() :: term()
  def state do
    case ErlangPython.State.put({:key, 1}, self()) do
      :ok -> ErlangPython.State.get({:key, 1})
      {:error, %ErlangPython.Error{kind: :too_large}} -> nil
    end

    ErlangPython.State.incr(:hits) + ErlangPython.State.decr(:hits, 2)
  end

  @spec erlang_face() :: term()
  def erlang_face do
    case :py.call(:math, :sqrt, [-1]) do
      {:ok, value} -> value
      {:error, {:ValueError, message}} -> List.to_string(message)
      {:error, reason} when reason in [:timeout, :cancelled, :no_workers_available] -> reason
    end

    case :py.execution_mode() do
      :multi_executor -> 1
      :subinterp -> 2
      :free_threaded -> 3
    end
  end

  @spec erlport() :: term()
  def erlport do
    {:ok, instance} = ErlangPython.ErlPort.start(python_path: ~c"priv/python", python: "python3")
    ErlangPython.ErlPort.call(instance, :operator, :add, [1, 2], timeout: 1_000)
  rescue
    error in ErlangError -> error.original
  end
end
