defmodule ErlangPython.ErlangFace.CallList do
  @moduledoc false
  # The calls that `py:parallel` and `py:async_gather` take as tuples.

  alias ErlangPython.ErlangFace.{Calls, OnBehalf}

  @doc "Each call as a function for a process of its own, which makes it for the calling one."
  @spec functions(term()) :: {:ok, [(... -> Calls.result())]} | {:error, :invalid_args}
  def functions(calls) when is_list(calls) do
    if not List.improper?(calls) and Enum.all?(calls, &call?/1),
      do: {:ok, for(call <- calls, do: OnBehalf.carry(fn -> perform(call) end))},
      else: {:error, :invalid_args}
  end

  def functions(_other), do: {:error, :invalid_args}

  defp call?({_module, _function, args}) when is_list(args), do: true
  defp call?({_module, _function, args, _kwargs}) when is_list(args), do: true
  defp call?(_other), do: false

  defp perform({module, function, args}), do: perform({module, function, args, %{}})

  # Those who wait for it end it with themselves.
  defp perform({module, function, args, kwargs}),
    do: Calls.call(module, function, args, kwargs, :infinity)
end
