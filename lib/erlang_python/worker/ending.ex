defmodule ErlangPython.Worker.Ending do
  @moduledoc false
  # How a worker ends: drained, told to, killed, or found dead. Its process ends only when the OS process and both
  # readers have.

  import ErlangPython.Worker.State, only: [tell: 4]

  alias ErlangPython.{Error, Protocol, Worker}
  alias ErlangPython.Pool.{Slots, Streams}
  alias ErlangPython.Request.Reply
  alias ErlangPython.Worker.{Exit, OSProcess, Printing, State}
  alias ErlangPython.ZMTP.ProtocolError

  require Protocol

  # How long the sockets may stay open when the process has ended: a child that Python forked can hold them.
  @closing_ms 100
  # How long the process may stay when a socket has closed: on a busy machine its exit status comes late.
  @exiting_ms 1_000
  @drain_poll_ms 5
  # How long a worker that drains waits for streams that nobody has read to their end.
  @streams_ms 30_000

  @type step :: {:noreply, State.t()} | {:stop, Worker.reason(), State.t()}

  @doc "Lets it end what it has, looking again from time to time (`:drained?`)."
  @spec drain(State.t()) :: step()
  def drain(%{phase: :ready} = state) do
    until = System.monotonic_time(:millisecond) + @streams_ms
    drained(%{state | phase: :draining, drain_until: until})
  end

  # It has not served yet.
  def drain(%{phase: phase} = state) when phase in [:launching, :setup],
    do: {:stop, {:shutdown, :drained}, state}

  def drain(state), do: {:noreply, state}

  @doc "Has it ended what it has?"
  @spec drained(State.t()) :: step()
  def drained(%{phase: :draining} = state) do
    if idle?(state) and not streams?(state) do
      tell(state, :control, Protocol.type(:shutdown), 0)
      Process.send_after(self(), :stop_timeout, state.handle.options.grace)
      {:noreply, %{state | phase: :stopping}}
    else
      Process.send_after(self(), :drained?, @drain_poll_ms)
      {:noreply, state}
    end
  end

  def drained(state), do: {:noreply, state}

  defp idle?(%{handle: handle, slot: slot}),
    do: Slots.in_flight(handle, slot) == 0 and Slots.beside(handle, slot) <= 0

  defp streams?(state) do
    Streams.count(state.handle, state.slot, state.generation) > 0 and
      System.monotonic_time(:millisecond) < state.drain_until
  end

  @doc "Does without the exit status of a process that a kill does not end."
  @spec give_up(State.t()) :: step()
  # Closing the port before its process has ended forgets its exit status, no more.
  def give_up(%{port: port} = state) do
    true = Port.close(port)
    over(%{state | port: nil})
  end

  @doc """
  The channel of a thread, a loop or a child process has closed. Where Python did it, as when its loop ends, only the last of all parts
  matters; else what it still says there reaches nobody.
  """
  @spec closed(State.t(), Worker.channel(), reason :: term()) :: step()
  def closed(%{port: nil, readers: readers} = state, _channel, _reason) when readers == %{},
    do: stop(state)

  # What children lose is theirs.
  def closed(state, {:child, _number}, _reason), do: {:noreply, state}

  def closed(%{port: port} = state, {kind, _number}, reason) when port != nil do
    if lost?(reason),
      do: {:noreply, State.kill(state, "lost the connection of its #{owner(kind)}")},
      else: {:noreply, state}
  end

  def closed(state, _channel, _reason), do: {:noreply, state}

  defp lost?({:shutdown, %ProtocolError{}}), do: true
  defp lost?({:shutdown, {:send, :timeout}}), do: true
  defp lost?({:shutdown, {:handler, _reason}}), do: true
  # Of its writer, or of the router, with which all go.
  defp lost?({:shutdown, {:exit, reason}}), do: reason != :shutdown
  defp lost?(closed) when closed in [:normal, :noproc, :shutdown], do: false
  defp lost?({:shutdown, _closed}), do: false
  defp lost?(_crash), do: true

  defp owner(:loop), do: "event loop"
  defp owner(:thread), do: "thread"

  @doc "Called whenever a part of it has ended: the OS process or one of its two connections."
  @spec over(State.t()) :: step()
  def over(%{port: nil, readers: readers} = state) when readers == %{}, do: stop(state)

  def over(state) do
    wait = if state.port, do: @exiting_ms, else: @closing_ms
    Process.send_after(self(), :closing_timeout, wait)
    {:noreply, state}
  end

  @doc "What is left of it has stayed too long."
  @spec close(State.t()) :: step()
  # Never by a kill: a result that a reader has in its hands would be lost.
  def close(%{port: nil} = state) do
    Enum.each(state.readers, fn {_ref, {_channel, reader}} -> send(reader, :finish) end)
    {:noreply, state}
  end

  def close(state), do: {:noreply, State.kill(state, "closed a connection")}

  defp stop(%{phase: :stopping, status: 0} = state), do: {:stop, {:shutdown, :drained}, state}

  defp stop(%{phase: phase} = state) when phase in [:launching, :setup],
    do: stop_failed(state, start_error(state))

  defp stop(state),
    do: {:stop, {:shutdown, {:exited, exit_info(state), State.begun(state)}}, state}

  @doc "It has never been ready."
  @spec stop_failed(State.t(), Error.t()) :: step()
  def stop_failed(state, error), do: {:stop, {:shutdown, {:start_failed, error}}, state}

  defp start_error(%{failed: nil} = state),
    do: Exit.not_started(exit_info(state), state.executable)

  defp start_error(%{failed: body} = state) do
    case Reply.exception(body) do
      {:ok, exception} -> Exit.not_set_up(exit_info(state), exception)
      {:error, _undecodable} -> Exit.not_started(exit_info(state), state.executable)
    end
  end

  defp exit_info(state) do
    %{
      status: state.status,
      cause: state.cause,
      os_pid: state.os_pid,
      output: Printing.last(state.printing)
    }
  end

  @doc "For who looks after its process: when that has ended, so has Python, and what it had started."
  @spec end_process(State.t()) :: State.t()
  def end_process(state) do
    status = end_in_order(state)
    OSProcess.signal(state.os_pid, :kill)
    %{state | port: nil, status: status || await_exit(state.port, State.killed_ms())}
  end

  # Python may run its `atexit`, within its grace.
  defp end_in_order(%{phase: phase} = state) when phase in [:ready, :draining, :stopping] do
    tell(state, :control, Protocol.type(:shutdown), 0)
    await_exit(state.port, state.handle.options.grace)
  end

  defp end_in_order(_starting), do: nil

  defp await_exit(port, timeout) do
    receive do
      {^port, {:exit_status, status}} -> status
    after
      timeout -> nil
    end
  end
end
