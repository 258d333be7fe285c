defmodule ErlangPython.ErlangFace.Contexts do
  @moduledoc false
  # Contexts and process binding in the shapes of `:py`.

  alias ErlangPython.{Context, Error}
  alias ErlangPython.Context.Binding
  alias ErlangPython.ErlangFace.Reason

  @spec bind() :: :ok | {:error, Reason.t()}
  def bind, do: reason(Binding.bind([]))

  @spec open() :: {:ok, Context.t()} | {:error, Reason.t()}
  def open, do: reason(Context.open())

  @doc "Gives what the function gives."
  @spec with_context(term()) :: term()
  def with_context(fun) when is_function(fun, 0) or is_function(fun, 1) do
    case Binding.with_new(fun, []) do
      {:ok, result} -> result
      {:error, error} -> {:error, Reason.of(error)}
    end
  end

  def with_context(_other), do: {:error, :invalid_args}

  @doc "Runs a call in the context. A context that was released is the caller's mistake, and raises."
  @spec within(term(), (... -> result)) :: result | {:error, :invalid_args} when result: term()
  def within(%Context{} = context, call) do
    case Binding.within(context, call) do
      {:error, :context_not_bound} -> :erlang.error(:context_not_bound)
      result -> result
    end
  end

  def within(_other, _call), do: {:error, :invalid_args}

  defp reason({:error, %Error{} = error}), do: {:error, Reason.of(error)}
  defp reason(other), do: other
end
