defmodule ErlangPython.Pool.Manager.Warnings do
  @moduledoc false
  # What the log says of workers that nobody has asked to end, and of those that can't start. The default logger has lines of
  # its own for both, so here are none where that is attached.

  alias ErlangPython.Pool.{Failures, Handle, Roster, Slots}
  alias ErlangPython.Pool.Manager.State
  alias ErlangPython.Telemetry.DefaultLogger
  alias ErlangPython.Worker.Exit

  require Logger

  @doc "The process of a worker has ended, for this reason."
  @spec ended(Handle.t(), Roster.entry(), reason :: term()) :: :ok
  def ended(handle, %{phase: :ready, slot: slot, os_pid: os_pid}, reason) do
    how = how(os_pid, reason)
    text = "Python worker #{slot} of the pool #{inspect(handle.name)} #{how}"
    if how, do: warn(handle, slot, os_pid, text), else: :ok
  end

  # One that was to end, or that has failed to start.
  def ended(_handle, _entry, _reason), do: :ok

  defp how(_os_pid, {:shutdown, {:exited, exit, _running}}),
    do: if(Exit.unstopped?(exit), do: nil, else: Exit.told(exit))

  # With all others.
  defp how(_os_pid, :shutdown), do: nil
  defp how(_os_pid, {:shutdown, _in_order}), do: nil

  defp how(os_pid, crash) do
    "(OS process #{os_pid}) was killed because the process that looks after it has ended: " <>
      Exception.format_exit(crash)
  end

  @doc "A worker could not start. Who waits for the first start, in `start_link/1`, has the error itself."
  @spec not_started(State.t(), Slots.slot()) :: State.t()
  def not_started(%{handle: handle, failures: failures} = state, slot) do
    now = System.monotonic_time(:millisecond)

    if Failures.due?(failures, now) and (handle.options.lazy or failures.had_worker?) do
      warn(handle, slot, nil, not_started_text(handle, failures))
      %{state | failures: Failures.told(failures, now)}
    else
      state
    end
  end

  defp not_started_text(handle, failures) do
    tries =
      if failures.in_row > 1, do: "after #{failures.in_row} tries", else: "and is tried again"

    what = "a worker of the pool #{inspect(handle.name)} can't start, #{tries}: "
    what <> Exception.message(failures.error)
  end

  defp warn(handle, slot, os_pid, text) do
    metadata = [pool: handle.name, worker: Handle.worker_name(handle, slot), os_pid: os_pid]
    unless DefaultLogger.logs_ends?(handle), do: Logger.warning(text, metadata)
    :ok
  end
end
