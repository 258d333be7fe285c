defmodule ErlangPython.Callbacks.Incoming do
  @moduledoc false
  # What a worker's reader does with the messages of Python code that calls into the BEAM. It runs in
  # the reader, so it starts processes and waits for none.

  alias ErlangPython.Callbacks.{CastLimit, Courier, Invocation, Origin, Running}
  alias ErlangPython.{MessagePack, Protocol}
  alias ErlangPython.Pool.{Handle, Pending, Slots}
  alias ErlangPython.Pool.Intake.Cancellation

  require Logger
  require Protocol

  defguard is_callback(type)
           when type in [
                  Protocol.type(:callback),
                  Protocol.type(:cast),
                  Protocol.type(:send),
                  Protocol.type(:service)
                ]

  @doc "Serves one such message; `state` is that of `ErlangPython.Worker.Channel`."
  @spec serve(byte(), non_neg_integer(), [binary()], map()) :: term()
  def serve(Protocol.type(:send), _id, [<<_type, _id64::64, body::binary>> | buffers], _state) do
    # Here, so that messages arrive in the order in which a thread sends them.
    case MessagePack.decode(body, buffers) do
      {:ok, [pid, message]} when is_pid(pid) and node(pid) == node() -> send(pid, message)
      {:ok, [pid, message]} when is_pid(pid) -> Courier.send(pid, message)
      _other -> Logger.warning("Python sent a message that can't be decoded, or to no process")
    end
  end

  def serve(type, id, message, state) do
    # Who comes now would wait behind the callback.
    if state.channel == :main and type != Protocol.type(:cast),
      do: Slots.shrink_window(state.handle, state.slot)

    origin = %Origin{
      handle: state.handle,
      slot: state.slot,
      generation: state.generation,
      worker: state.worker,
      writer: state.writer,
      channel: state.channel,
      parent: 0,
      id: id
    }

    # A cast outlives its thread and its worker.
    if type == Protocol.type(:cast),
      do: CastLimit.start(state.handle, fn -> Invocation.run(message, origin) end),
      else: :erlang.spawn_opt(Invocation, :run, [message, origin], [:monitor])
  end

  @doc """
  A process that worked on a callback has ended. If it gave no answer, Python must be told; if it was killed, what it
  has called is to stop.
  """
  @spec ended(Handle.t(), pid(), term()) :: term()
  def ended(handle, pid, reason) do
    if reason != :normal,
      do: handle |> Pending.of_caller(pid) |> Enum.each(&Cancellation.cancel(handle, &1))

    with %Origin{} = origin <- Running.take(pid),
         do: Invocation.answer(origin, {:error, Invocation.failure(:exit, reason, [])})
  end

  @doc "Stops the callbacks of a request that is to stop."
  @spec cancel(Handle.t(), pos_integer()) :: :ok
  def cancel(handle, request) do
    for pid <- Running.of_request(handle, request),
        origin = Running.take(pid) do
      Process.exit(pid, :kill)
      # The main thread is interrupted in its waiting, and takes no answer then.
      if origin.channel != :main, do: Invocation.answer(origin, {:error, Invocation.stopped()})
    end

    :ok
  end

  @doc """
  Nobody waits for the answers of a channel any more: its reader, which calls this, is about to end. Callbacks that
  wait for a request are told by the end of that, and have the pool's grace period to act on it.
  """
  @spec abandon(%{:handle => Handle.t(), :worker => pid(), optional(atom()) => term()}) :: :ok
  def abandon(%{handle: handle, worker: worker}) do
    # Not those in `Running`: one that has just started may not be there yet.
    {:monitors, monitors} = Process.info(self(), :monitors)
    pids = for {:process, pid} <- monitors, pid != worker, do: pid
    waiting = if pids == [], do: MapSet.new(), else: Pending.callers(handle)
    {told, killed} = Enum.split_with(pids, &MapSet.member?(waiting, &1))
    Enum.each(told, &:timer.kill_after(handle.options.grace, &1))
    Enum.each(killed, &Process.exit(&1, :kill))
    Enum.each(told, &Running.take/1)
    Enum.each(killed, &await_end/1)
    take_dead()
  end

  defp await_end(pid) do
    receive do
      {:DOWN, _ref, :process, ^pid, _reason} -> Running.take(pid)
    end
  end

  # Those that had ended before they could be seen here.
  defp take_dead do
    receive do
      {:DOWN, _ref, :process, pid, _reason} ->
        Running.take(pid)
        take_dead()
    after
      0 -> :ok
    end
  end
end
