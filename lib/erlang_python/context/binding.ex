defmodule ErlangPython.Context.Binding do
  @moduledoc false
  # The context that the calling process uses by itself, in its dictionary.

  alias ErlangPython.{Context, Error}

  @key {__MODULE__, :bound}

  @spec current() :: Context.t() | nil
  def current, do: Process.get(@key)

  @doc "Binds the process, if it is not bound yet."
  @spec bind(keyword()) :: :ok | {:error, Error.t()}
  def bind(opts) do
    if current() do
      :ok
    else
      with {:ok, context} <- Context.open(opts) do
        Process.put(@key, context)
        :ok
      end
    end
  end

  @spec unbind() :: :ok
  def unbind do
    with %Context{} = context <- Process.delete(@key), do: Context.close(context)
    :ok
  end

  @doc "Runs the function as if the process were bound to this context."
  @spec within(Context.t(), (... -> result)) :: result when result: term()
  def within(context, fun) do
    before = Process.put(@key, context)

    try do
      fun.()
    after
      restore(before)
    end
  end

  defp restore(nil), do: Process.delete(@key)
  defp restore(before), do: Process.put(@key, before)

  @doc "Runs the function with a context of its own, and then as before."
  @spec with_new((... -> result), keyword()) :: {:ok, result} | {:error, Error.t()}
        when result: term()
  def with_new(fun, opts) do
    with {:ok, context} <- Context.open(opts) do
      try do
        {:ok, within(context, fn -> if is_function(fun, 0), do: fun.(), else: fun.(context) end)}
      after
        Context.close(context)
      end
    end
  end
end
