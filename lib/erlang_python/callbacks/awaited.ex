defmodule ErlangPython.Callbacks.Awaited do
  @moduledoc false
  # Does a callback wait for the calling process, or for one that does?
  #
  # Who waits for a process watches it: calls of `GenServer`, `Agent` and `Task` have a monitor, or there is a link. So the
  # way leads back, from the watched to the watching.

  alias ErlangPython.Callbacks.Running
  alias ErlangPython.Pool.{Handle, Slots}

  # A registry may watch whatever process there is.
  @most 1_000

  @doc "A callback out of the worker in this slot."
  @spec by_callback?(Handle.t(), Slots.slot()) :: boolean()
  def by_callback?(handle, slot),
    do: search(watching(self()) ++ links(self()), MapSet.new([self()]), handle, slot)

  defp search([], _seen, _handle, _slot), do: false

  defp search([pid | rest], seen, handle, slot) do
    cond do
      MapSet.size(seen) > @most -> false
      MapSet.member?(seen, pid) -> search(rest, seen, handle, slot)
      callback?(pid, handle, slot) -> true
      true -> search(watching(pid) ++ rest, MapSet.put(seen, pid), handle, slot)
    end
  end

  defp callback?(pid, %{pending: pool}, slot),
    do: match?(%{slot: ^slot, handle: %{pending: ^pool}}, Running.lookup(pid))

  defp watching(pid) do
    case Process.info(pid, :monitored_by) do
      {:monitored_by, watching} -> Enum.filter(watching, &local?/1)
      nil -> []
    end
  end

  defp links(pid) do
    {:links, links} = Process.info(pid, :links)
    Enum.filter(links, &local?/1)
  end

  defp local?(other), do: is_pid(other) and node(other) == node()
end
