defmodule ErlangPython.Callbacks.Holding do
  @moduledoc false
  # Do callbacks hold the main thread of a worker up?
  #
  # They do if they belong to the request that it runs, in whatever thread they were made: the main thread waits for
  # them, or for the thread that does. They don't if they belong to no request, as those of a thread which was
  # left behind, or to a coroutine, whose request has left the main thread: that may be busy all the while.

  alias ErlangPython.Callbacks.Running
  alias ErlangPython.Pool.{Handle, Pending, Slots}

  @spec main_thread?(Handle.t(), Slots.slot()) :: boolean()
  def main_thread?(handle, slot) do
    handle |> Running.parents(slot) |> Enum.any?(&held?(handle, slot, &1))
  end

  defp held?(handle, slot, request) do
    case Pending.standing(handle, request) do
      {_caller, ^slot, _pinned?} -> true
      # Of a context: it takes its turn in the main thread.
      {_caller, _beside, true} -> true
      # Nested in another callback, or in a thread beside the main one.
      {caller, _beside, false} -> nested?(handle, slot, caller)
      nil -> false
    end
  end

  defp nested?(handle, slot, caller) do
    case caller && Running.lookup(caller) do
      %{slot: ^slot, parent: parent} -> held?(handle, slot, parent)
      _no_callback -> false
    end
  end
end
