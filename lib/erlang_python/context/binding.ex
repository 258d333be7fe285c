defmodule ErlangPython.Context.Binding do
  @moduledoc false
  # The context that the calling process uses by itself, in its dictionary.

  alias ErlangPython.{Context, Error}

  @key {__MODULE__, :bound}

  @spec current() :: Context.t() | nil
  def current, do: Process.get(@key)

  @doc "Binds the process, if it is not bound yet. Raises `ArgumentError` if it is, and to another context than the options say."
  @spec bind(keyword()) :: :ok | {:error, Error.t()}
  def bind(opts) do
    if bound = current() do
      Context.options!(opts)
      Enum.each(opts, &check_same!(bound, &1))
    else
      with {:ok, context} <- Context.open(opts) do
        Process.put(@key, context)
        :ok
      end
    end
  end

  defp check_same!(bound, {key, wanted}) when key in [:pool, :mode] do
    is = Map.fetch!(bound, key)

    unless is == wanted do
      raise ArgumentError,
            "this process is bound to a context with #{key}: #{inspect(is)} already, and not #{inspect(wanted)}: " <>
              "call ErlangPython.unbind/0 first"
    end
  end

  defp check_same!(_bound, _timeout), do: :ok

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
      # The function may have ended this binding, and begun another.
      unless current() in [nil, before, context], do: unbind()
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
