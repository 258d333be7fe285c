defmodule ErlangPython.Worker.Stopping do
  @moduledoc false
  # How requests of a worker are stopped, and how those that wait behind another leave it: what is asked of
  # Python over the control channel, and what its answers mean.

  import ErlangPython.Pool.Pending.Row, only: [row: 1]

  alias ErlangPython.Callbacks.Incoming
  alias ErlangPython.Pool.{Intake.Stuck, Pending, Queue, Slots}
  alias ErlangPython.{Protocol, Request.Message, Worker.Running, Worker.State}

  require Protocol

  import State, only: [tell: 5]

  @doc "Tells Python to stop a request. If that has not helped after `:grace`, the worker is killed."
  @spec cancel(State.t(), Pending.id()) :: State.t()
  def cancel(%{phase: phase} = state, id) when phase in [:ready, :draining] do
    Incoming.cancel(state.handle, id)
    tell(state, :control, Protocol.type(:cancel), id, true)
    await_stop(state, id)
  end

  def cancel(state, _id), do: state

  @doc """
  Gives the close of a stream that was to have happened by now the rest of its time. One that has not begun to waits for another
  request, which has a deadline of its own; it must not be revoked, for nobody would close the stream then.
  """
  @spec close_due(State.t(), Pending.id()) :: State.t()
  def close_due(%{handle: handle} = state, id) do
    case Pending.lookup(handle, id) do
      nil ->
        state

      row(dest: dest, tag: tag) ->
        if Running.last?(State.begun(state), id) do
          # It may have begun just now, behind another request.
          Process.send_after(self(), {:close_over, id}, handle.options.grace)
        else
          Pending.abandon(handle, id)
          if dest, do: send(dest, {tag, :later})
          Process.send_after(self(), {:close_due, id}, handle.options.grace)
        end

        state
    end
  end

  @doc "Stops the close of a stream that has had the pool's `:grace` since it was seen to run."
  @spec close_over(State.t(), Pending.id()) :: State.t()
  def close_over(state, id),
    do: if(Pending.member?(state.handle, id), do: cancel(state, id), else: state)

  defp await_stop(state, id) do
    timer = Process.send_after(self(), {:grace, id}, state.handle.options.grace)
    put_in(state.cancels[id], %{timer: timer, begun?: false})
  end

  @doc "A request that was to stop has had its time."
  @spec grace_over(State.t(), Pending.id()) :: State.t()
  def grace_over(state, id) do
    {cancel, cancels} = Map.pop(state.cancels, id)
    state = %{state | cancels: cancels}

    cond do
      cancel == nil or not Pending.member?(state.handle, id) ->
        state

      cancel.begun? or not behind_another?(state, id) ->
        did = "did not stop within #{state.handle.options.grace} ms of being told to"
        State.kill(state, did, :unstopped)

      # Python can't say that it has not begun, because what it runs holds its lock.
      true ->
        await_stop(state, id)
    end
  end

  # Does Python run another request, which has a caller and a deadline of its own?
  defp behind_another?(state, id) do
    case State.begun(state) do
      %{last: last} when last != id -> Pending.member?(state.handle, last)
      _this_or_unknown -> false
    end
  end

  @doc """
  The request in front of this one takes longer than the window was made for. It is given on as
  `Pool.Intake.Stuck.give_on/3` does. Asked once at a time, and only for a request that is here: each "revoked" takes
  back one frame that was sent, or the next that will be.
  """
  @spec rebalance(State.t(), Pending.id(), Slots.slot() | nil) :: State.t()
  def rebalance(%{phase: phase} = state, id, slot) when phase in [:ready, :draining] do
    if is_map_key(state.rebalancing, id) or not State.here?(state, id) do
      state
    else
      Slots.shrink_window(state.handle, state.slot)
      tell(state, :control, Protocol.type(:cancel), id, false)
      put_in(state.rebalancing[id], slot)
    end
  end

  def rebalance(state, _id, _slot), do: state

  @doc "Moves a request that the main thread has not begun, because it waits, to a thread beside it."
  @spec move(State.t(), Pending.id(), iodata()) :: State.t()
  def move(%{handle: handle, writers: %{control: writer}} = state, id, wire) do
    # One that has begun may be what it waits in.
    unless Running.begun?(State.begun(state), id) or not Pending.move(handle, id),
      do: send(writer, {:tx, [Message.move(id), wire]})

    state
  end

  def move(state, _id, _wire), do: state

  @doc "What `CANCEL_ACK` says of a request."
  @spec acknowledged(State.t(), Pending.id(), term()) :: {:ok, State.t()} | :error
  def acknowledged(state, id, answer) do
    {next, rebalancing} = Map.pop(state.rebalancing, id)
    state = %{state | rebalancing: rebalancing}

    case answer do
      "revoked" -> {:ok, revoked(state, id, next)}
      # Its end comes, or has come.
      begun when begun in ["running", "done"] -> {:ok, begun(state, id)}
      _other -> :error
    end
  end

  # Also one beside the main thread, of which the file of what has begun says nothing.
  defp begun(state, id) do
    if is_map_key(state.cancels, id),
      do: put_in(state.cancels[id].begun?, true),
      else: state
  end

  # Where a request was taken back because another takes long, the worker gets no more until that has ended: it would look free
  # where that one does not count into its window, and what came here would not see another worker become free.
  defp hold(%{handle: handle, slot: slot} = state) do
    with true <- Slots.window(handle, slot) > 0,
         %{last: last} <- State.begun(state),
         true <- Pending.on_main_thread?(handle, last, slot) do
      Slots.hold(handle, slot, last)
      # It may have left just before, and its reader has not seen the slot held.
      unless Pending.on_main_thread?(handle, last, slot), do: Slots.let_go(handle, slot, last)
    end
  end

  # The worker will never run it: nobody waits for it any more, or another worker may.
  defp revoked(%{handle: handle, slot: slot} = state, id, next) do
    case Pending.lookup(handle, id) do
      row(dest: nil, place: ^slot) ->
        Pending.discard(handle, id)
        Queue.dispatch(handle)

      row(place: ^slot, generation: generation) ->
        hold(state)
        if Pending.unassign(handle, id, slot, generation), do: Stuck.give_on(handle, id, next)

      # Outside the window: nobody else could run it.
      row(place: place) when place == -slot ->
        Pending.discard(handle, id)

      _ended ->
        :ok
    end

    {cancel, cancels} = Map.pop(state.cancels, id)
    if cancel, do: Process.cancel_timer(cancel.timer)
    %{state | cancels: cancels}
  end
end
