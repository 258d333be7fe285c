defmodule ErlangPython.ErlangFace.OnBehalf do
  @moduledoc false
  # What another process does for the calling one: bound to the same worker, and, if that one works on a callback, let in
  # as part of the request that waits for it.

  alias ErlangPython.Context.Binding

  @doc "The function, to be run once by a process that was started for it."
  @spec carry((... -> result)) :: (... -> result) when result: term()
  def carry(fun) do
    context = Binding.current()
    callers = [self() | Process.get(:"$callers", [])]

    fn ->
      Process.put(:"$callers", callers)
      if context, do: Binding.within(context, fun), else: fun.()
    end
  end
end
