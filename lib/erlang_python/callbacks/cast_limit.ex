defmodule ErlangPython.Callbacks.CastLimit do
  @moduledoc false
  # How many casts of a pool run at once. Python waits for none of them, so nothing else bounds them: a loop would take the
  # BEAM to its limit of processes. What is too much is dropped, and told at most once a second.
  #
  # They outlive their workers, and may be killed. So the process that owns the pool's counters watches them.

  alias ErlangPython.Pool.{Directory, Handle, Slots}

  require Logger

  @most 10_000
  @told_ms 1_000

  @doc "Starts the process of a cast, unless too many run."
  @spec start(Handle.t(), fun()) :: term()
  def start(handle, fun) do
    if Slots.add_casts(handle, 1) <= @most do
      Directory.notify(handle, :callers, {:cast, spawn(fun)})
    else
      Slots.add_casts(handle, -1)

      if Slots.add_dropped_casts(handle, 1) == 1,
        do: Directory.notify(handle, :callers, :casts_dropped)
    end
  end

  # --- in that process

  @doc "Counts a cast off when it has ended, by `{:cast_ended, ref, :process, pid, reason}`."
  @spec watch(pid()) :: reference()
  def watch(cast), do: :erlang.monitor(:process, cast, tag: :cast_ended)

  @doc "The first of a number of casts was dropped: `:tell_dropped_casts` comes when it is time to tell."
  @spec tell_later() :: reference()
  def tell_later, do: Process.send_after(self(), :tell_dropped_casts, @told_ms)

  @spec tell_dropped(Handle.t()) :: :ok
  def tell_dropped(handle) do
    Logger.warning(
      "#{Slots.take_dropped_casts(handle)} casts from Python were dropped: #{@most} casts of the pool " <>
        "#{inspect(handle.name)} run already"
    )
  end
end
