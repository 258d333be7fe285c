defmodule ErlangPython.Pool.Manager.Launch do
  @moduledoc false
  # The start of a worker, now or later, until its slot is open to requests.

  alias ErlangPython.Pool.{Directory, Failures, Handle, Queue, Roster, Slots, Supervisor, Window}
  alias ErlangPython.Pool.Manager.{Replacing, State}
  alias ErlangPython.Telemetry.Events
  alias ErlangPython.Worker

  @spec start(State.t(), Slots.slot()) :: State.t()
  def start(%{handle: handle} = state, slot) do
    generation = Slots.next_generation(handle, slot)
    Slots.reset_served(handle, slot, generation)

    spec = %{
      id: slot,
      start: {Worker, :start_link, [{handle, slot, generation}]},
      restart: :temporary,
      shutdown: Supervisor.shutdown_ms(handle.options)
    }

    {:ok, worker} = DynamicSupervisor.start_child(state.supervisor, spec)
    ref = Process.monitor(worker)
    Worker.launch(worker)

    started = %{
      slot: slot,
      generation: generation,
      worker: worker,
      ref: ref,
      launched: System.monotonic_time()
    }

    %{state | roster: Roster.put_started(state.roster, started)}
  end

  @doc "The later, the more have failed; `{:start, slot}` comes then."
  @spec start_later(State.t(), Slots.slot()) :: State.t()
  def start_later(state, slot) do
    wait_ms = Failures.wait_ms(state.failures, :rand.uniform())
    Process.send_after(self(), {:start, slot}, wait_ms)
    %{state | roster: Roster.put_waiting(state.roster, slot)}
  end

  @doc "The worker has said that it is ready."
  @spec ready(State.t(), Directory.worker()) :: State.t()
  def ready(%{handle: handle} = state, %{slot: slot} = ready) do
    Directory.put_worker(handle, ready)
    Directory.put_hello(handle, ready.hello)
    roster = Roster.put_ready(state.roster, slot, ready.os_pid, ready.hello)
    state = %{state | roster: roster, failures: Failures.over(state.failures)}
    Directory.close_circuit(handle)
    Events.worker_started(handle, roster[slot])

    Slots.put_last_end(handle, slot, System.monotonic_time(:microsecond))
    Slots.put_contexts(handle, slot, 0)
    Slots.set_aside(handle, slot, false)

    # What is replayed has changed since this worker was set up: it makes room for one that knows it.
    if Directory.replay(handle) == ready.replay do
      open(handle, slot)
      state
    else
      Replacing.drain(state, slot, :draining)
    end
  end

  @doc "Its worker takes requests from now on."
  @spec open(Handle.t(), Slots.slot()) :: :ok
  def open(handle, slot) do
    window = Window.initial(handle.options.window)
    Slots.put_window(handle, slot, min(window, Slots.left(handle, slot)))
    Queue.dispatch(handle)
  end
end
