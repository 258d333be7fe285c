defmodule ErlangPython.Callbacks.Asker do
  @moduledoc false
  # Who is at the beginning of a request: whoever calls Python out of a callback does so on
  # behalf of another caller.

  alias ErlangPython.Callbacks.Running
  alias ErlangPython.Pool.{Handle, Pending}

  @doc "Where what a request prints goes; nil if nobody is there."
  @spec group_leader(Handle.t(), Pending.id()) :: pid() | nil
  def group_leader(handle, id) do
    with caller when is_pid(caller) <- Pending.caller(handle, id),
         {:group_leader, leader} <- caller |> first() |> Process.info(:group_leader),
         do: leader
  end

  defp first(caller) do
    with %{parent: parent, handle: handle} <- Running.lookup(caller),
         above when is_pid(above) <- Pending.caller(handle, parent) do
      first(above)
    else
      _no_callback_or_none_above -> caller
    end
  end
end
