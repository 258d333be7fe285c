defmodule ErlangPython.Telemetry.Events do
  @moduledoc false
  # Who looks at a pool, and the events that are no spans.
  #
  # `:telemetry` and OpenTelemetry are no dependencies. Whether they are there is looked up when a pool
  # starts, and kept in one of its counters, with the bit that says whether tracing is on: a call reads that
  # one number, which is 0 if nobody looks.

  import Bitwise

  alias ErlangPython.Error
  alias ErlangPython.MessagePack.Optional
  alias ErlangPython.Pool.{Handle, Slots}
  alias ErlangPython.Telemetry.OpenTelemetry

  @telemetry 1
  @recording 2
  @open_telemetry 4

  @type flags :: 0..7

  @spec telemetry?(flags()) :: boolean()
  def telemetry?(flags), do: (flags &&& @telemetry) != 0

  @spec recording?(flags()) :: boolean()
  def recording?(flags), do: (flags &&& @recording) != 0

  @spec open_telemetry?(flags()) :: boolean()
  def open_telemetry?(flags), do: (flags &&& @open_telemetry) != 0

  @doc "Looks who is there. Called when a pool has its handle, and when tracing is switched."
  @spec observe(Handle.t()) :: :ok
  def observe(handle) do
    flags = flags()
    Slots.put_observed(handle, flags)
    if telemetry?(flags), do: look_for_handlers(handle, now_ms())
    # Tracing may have been switched since, by somebody who was faster.
    if flags() == flags, do: :ok, else: observe(handle)
  end

  defp flags do
    bit(present?(), @telemetry) + bit(tracing?(), @recording) +
      bit(OpenTelemetry.available?(), @open_telemetry)
  end

  defp bit(true, bit), do: bit
  defp bit(false, _bit), do: 0

  @doc "Is `:telemetry` there? If its application does not run, each event would be a warning."
  @spec present?() :: boolean()
  def present? do
    Optional.available?(:telemetry) and function_exported?(:telemetry, :execute, 3) and
      List.keymember?(Application.started_applications(), :telemetry, 0)
  end

  @spec tracing?() :: boolean()
  def tracing?, do: Application.get_env(:erlang_python, __MODULE__, false)

  @spec put_tracing(boolean()) :: :ok
  def put_tracing(on?), do: Application.put_env(:erlang_python, __MODULE__, on?)

  # Events are always emitted, and cost little if nobody has attached to them. To have Python take the time costs
  # more. `:telemetry` does not say when somebody attaches, and to look is a search through all handlers, so
  # the answer is kept for so long. Who attached since has the times that were taken here.
  @handlers_ms 10

  @doc "Has anybody attached to the events of calls?"
  @spec handlers?(Handle.t()) :: boolean()
  def handlers?(handle) do
    now = now_ms()

    if now - Slots.looked_for_handlers(handle) >= @handlers_ms,
      do: look_for_handlers(handle, now),
      else: Slots.handlers?(handle)
  end

  defp look_for_handlers(handle, now) do
    any? = apply(:telemetry, :list_handlers, [[:erlang_python, :call]]) != []
    Slots.put_handlers(handle, any?, now)
    any?
  end

  defp now_ms, do: System.monotonic_time(:millisecond)

  @spec execute([atom()], map(), map()) :: :ok
  def execute(event, measurements, metadata),
    do: apply(:telemetry, :execute, [[:erlang_python | event], measurements, metadata])

  defp execute(handle, event, measurements, metadata) do
    if telemetry?(Slots.observed(handle)),
      do: execute(event, measurements, Map.put(metadata, :pool, handle.name)),
      else: :ok
  end

  @doc "A request has found no worker with room."
  @spec queued(Handle.t()) :: :ok
  def queued(handle), do: execute(handle, [:pool, :queued], %{queued: Slots.queued(handle)}, %{})

  @spec overloaded(Handle.t(), Error.t()) :: :ok
  def overloaded(handle, %Error{details: details} = error),
    do:
      execute(handle, [:pool, :overloaded], Map.take(details, [:current, :max]), %{error: error})

  @typedoc "What a pool's manager, or the worker's own process, knows of a worker."
  @type worker :: %{
          :slot => Slots.slot(),
          :os_pid => pos_integer() | nil,
          :hello => map() | nil,
          :launched => integer(),
          optional(atom()) => term()
        }

  @doc "A worker takes requests from now on."
  @spec worker_started(Handle.t(), worker()) :: :ok
  def worker_started(handle, worker) do
    measurements = %{
      system_time: System.system_time(),
      monotonic_time: System.monotonic_time(),
      duration: System.monotonic_time() - worker.launched
    }

    execute(handle, [:worker, :start], measurements, worker(worker))
  end

  @doc """
  A worker has ended: its process for the reason that it gave, or with its pool, `{:stopped, exit_status}`.
  """
  @spec worker_exited(Handle.t(), worker(), term()) :: :ok
  def worker_exited(handle, worker, reason) do
    now = System.monotonic_time()

    measurements = %{
      monotonic_time: now,
      duration: now - worker.launched,
      served: Slots.served(handle, worker.slot)
    }

    metadata = Map.merge(worker(worker), ending(reason))
    execute(handle, [:worker, :exit], measurements, metadata)
  end

  defp worker(worker),
    do: %{worker: worker.slot, os_pid: worker.os_pid, python: (worker.hello || %{})["python"]}

  defp ending({:shutdown, :drained}), do: %{reason: :drained, status: 0, error: nil}

  defp ending({:shutdown, {:start_failed, error}}),
    do: %{reason: :start_failed, status: nil, error: error}

  defp ending({:shutdown, {:exited, exit, _running}}),
    do: %{reason: :exited, status: exit.status, error: nil}

  defp ending({:stopped, status}), do: %{reason: :stopped, status: status, error: nil}

  defp ending(_killed_or_crashed),
    do: %{reason: :killed, status: nil, error: nil}
end
