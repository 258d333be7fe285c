defmodule ErlangPython.Callbacks.Awaited do
  @moduledoc false
  # Which callbacks wait for a process, itself or by way of others, among them such that don't say for whom they work, as a
  # server that a callback asks?
  #
  # Who waits for a process watches it: calls of `GenServer`, `Agent` and `Task` have a monitor, or there is a link. So the
  # way leads back, from the watched to the watching, and from a callback to whoever made its request.

  alias ErlangPython.Callbacks.Running
  alias ErlangPython.Pool.{Handle, Slots}

  # A registry may watch whatever process there is.
  @most 1_000

  @doc """
  The workers of a pool out of which they come, and those that wait for these callbacks in turn. `callers`: for whom the
  process says that it works.
  """
  @spec slots(Handle.t(), pid(), callers :: list()) :: [Slots.slot()]
  def slots(handle, pid, callers) do
    start = [pid | links(pid)] ++ Enum.filter(callers, &local?/1)
    search(start, MapSet.new(), [], handle)
  end

  defp search([], _seen, found, _handle), do: Enum.uniq(found)

  defp search([pid | rest], seen, found, handle) do
    cond do
      MapSet.size(seen) > @most -> Enum.uniq(found)
      MapSet.member?(seen, pid) -> search(rest, seen, found, handle)
      true -> step(Running.lookup(pid), pid, rest, MapSet.put(seen, pid), found, handle)
    end
  end

  defp step(nil, pid, rest, seen, found, handle),
    do: search(watching(pid) ++ rest, seen, found, handle)

  defp step(%{handle: %{pending: pool}, slot: slot} = origin, _pid, rest, seen, found, handle) do
    found = if pool == handle.pending, do: [slot | found], else: found
    search(Enum.filter(origin.callers, &local?/1) ++ rest, seen, found, handle)
  end

  defp watching(pid) do
    case Process.info(pid, :monitored_by) do
      {:monitored_by, watching} -> Enum.filter(watching, &local?/1)
      nil -> []
    end
  end

  defp links(pid) do
    case Process.info(pid, :links) do
      {:links, links} -> Enum.filter(links, &local?/1)
      nil -> []
    end
  end

  defp local?(other), do: is_pid(other) and node(other) == node()
end
