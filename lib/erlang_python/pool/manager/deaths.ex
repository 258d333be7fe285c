defmodule ErlangPython.Pool.Manager.Deaths do
  @moduledoc false
  # A worker's process has ended: what it left is settled, and another takes its place, now, later or never.

  alias ErlangPython.Pool.{Directory, Failures, Handle, Overflow, Pending, Queue, Roster, Slots}
  alias ErlangPython.Pool.Manager.{Launch, Opening, Replacing, Settling, Size, State}
  alias ErlangPython.Pool.Manager.{Waiting, Warnings}
  alias ErlangPython.Telemetry.Events
  alias ErlangPython.Worker.Exit

  @spec down(State.t(), Roster.entry(), reason :: term()) :: State.t()
  def down(%{handle: handle} = state, %{slot: slot} = entry, reason) do
    lost = Settling.settle(handle, entry, reason)
    Events.worker_exited(handle, entry, reason)
    Warnings.ended(handle, entry, reason)

    if slot > state.count and not wanted?(state, slot),
      do: state |> Size.remove(slot) |> Size.overflow() |> Opening.open_waiting(),
      else: state |> replace(entry, reason, lost) |> Size.overflow()
  end

  defp wanted?(%{handle: %{options: options}} = state, slot),
    do: Overflow.wanted?(state.roster, state.count, options.max_overflow, slot)

  defp replace(state, %{slot: slot, phase: phase}, _reason, _lost)
       when phase in [:draining, :closing],
       do: Launch.start(served(state), slot)

  defp replace(state, %{slot: slot}, {:shutdown, {:start_failed, error}}, _lost),
    do: start_failed(state, slot, error)

  # Its own process has crashed, or was killed.
  defp replace(state, %{slot: slot, phase: :starting}, reason, _lost),
    do: start_failed(state, slot, Exit.crashed(reason))

  # One that died while it served is replaced at once.
  defp replace(state, %{slot: slot, launched: launched}, _reason, lost) do
    if lost > 0 or Slots.served(state.handle, slot) > 0 do
      Launch.start(served(state), slot)
    else
      lived = System.convert_time_unit(System.monotonic_time() - launched, :native, :millisecond)
      failures = Failures.died_unused(state.failures, lived)
      Launch.start_later(%{state | failures: failures}, slot)
    end
  end

  defp served(state), do: %{state | failures: Failures.served(state.failures)}

  defp start_failed(state, slot, error) do
    %{state | failures: Failures.failed(state.failures, error)}
    |> Warnings.not_started(slot)
    |> Launch.start_later(slot)
    |> open_circuit()
    |> Replacing.replaced(slot, {:error, error})
    |> Waiting.tell(:ready, {:error, error})
    |> Opening.open_waiting()
    |> Waiting.tell_running()
  end

  # The next worker that is ready closes it again.
  defp open_circuit(%{handle: handle, failures: failures} = state) do
    if Failures.hopeless?(failures) and not Roster.any?(state.roster, [:ready, :draining]) do
      Directory.open_circuit(handle, failures.error)
      refuse_waiting(handle, failures.error)
    end

    state
  end

  # Requests that come later see the circuit (Intake.confirm_queued).
  @spec refuse_waiting(Handle.t(), ErlangPython.Error.t()) :: :ok
  defp refuse_waiting(handle, error) do
    case Queue.pop(handle) do
      nil ->
        :ok

      id ->
        Pending.finish(handle, id, error)
        refuse_waiting(handle, error)
    end
  end
end
