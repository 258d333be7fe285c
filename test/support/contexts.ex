defmodule ErlangPython.TestContexts do
  @moduledoc false
  # Contexts, and code in them.

  alias ErlangPython.Context

  def open!(pool, mode \\ :dedicated) do
    {:ok, context} = Context.open(pool: pool, mode: mode)
    context
  end

  def exec!(code, context), do: ErlangPython.exec!(code, %{}, context: context)
  def eval(code, context), do: ErlangPython.eval(code, %{}, context: context)
end
