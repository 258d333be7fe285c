defmodule ErlangPython.Pool.Manager.Settling do
  @moduledoc false
  # What dead workers leave: requests that get their end, or go back to the queue, streams and Refs that are lost.

  alias ErlangPython.Pool.{
    Contexts,
    Directory,
    Handle,
    Pending,
    Queue,
    Refs,
    Remains,
    Roster,
    Slots,
    Streams
  }

  alias ErlangPython.Worker.{Exit, OSProcess, Running}

  @doc "Settles what the worker left whose process has ended for this reason. Gives how many requests were lost."
  @spec settle(Handle.t(), Roster.entry(), reason :: term()) :: non_neg_integer()
  def settle(handle, %{slot: slot, generation: generation} = entry, reason) do
    Slots.put_window(handle, slot, 0)
    Slots.set_aside(handle, slot, false)
    Slots.put_contexts(handle, slot, 0)
    move_on(handle, slot)
    lost = collect(handle, entry, exit_of(entry, reason))
    Streams.lost(handle, slot, generation)
    Refs.lost(handle, slot, generation)
    lost
  end

  @doc """
  Settles the requests in slots from before this manager: nobody knows any more whether they ran.
  """
  @spec settle_orphans(Handle.t()) :: :ok
  def settle_orphans(handle) do
    Enum.each(1..Slots.count(handle)//1, &move_on(handle, &1))

    for {id, place} when place != 0 <- Pending.places(handle),
        do: Pending.finish(handle, id, Exit.lost(unknown_exit(nil), :running))

    :ok
  end

  # Before the rows are collected: one that comes too late for that sees the new generation (Intake.confirm).
  defp move_on(handle, slot) do
    Directory.delete_worker(handle, slot)
    Slots.next_generation(handle, slot)
  end

  defp exit_of(_entry, {:shutdown, {:exited, exit, running}}), do: {exit, running}
  defp exit_of(_entry, {:shutdown, _in_order}), do: {unknown_exit(nil), Running.none()}

  # The worker's process itself crashed or was killed: Python may still be there.
  defp exit_of(entry, _crash) do
    if entry.os_pid, do: OSProcess.signal(entry.os_pid, :kill)
    {unknown_exit(entry.os_pid), :unknown}
  end

  defp unknown_exit(os_pid), do: %{status: nil, cause: nil, os_pid: os_pid, output: []}

  defp collect(handle, %{slot: slot, generation: generation}, {exit, running}) do
    {lost, unbegun} =
      handle
      |> Pending.in_slot(slot, generation)
      |> Remains.split(running, &waited_for?(handle, &1))

    for {id, state} <- lost, do: Pending.finish(handle, id, lost(exit, state))
    requeued = Enum.filter(unbegun, &Pending.unassign(handle, &1, slot, generation))
    Queue.requeue(handle, requeued)
    length(lost)
  end

  defp lost(_exit, {:waiting, :stream}), do: Exit.lost_stream()
  # With Refs, `Request` says so in their words.
  defp lost(_exit, {:waiting, _context_or_refs}), do: Contexts.lost()
  defp lost(exit, state), do: Exit.lost(exit, state)

  defp waited_for?(handle, id),
    do: Pending.member?(handle, id) and not Pending.abandoned?(handle, id)
end
