defmodule ErlangPython.Callbacks.Origin do
  @moduledoc false
  # Where a callback came from: which thread of which worker waits for it, and on whose behalf.
  #
  # The process that works on the callback keeps it in its dictionary. Its own calls go back into
  # that thread; those of tasks that it starts find it through `$callers`. `context` is that of a coroutine's request, for
  # no thread waits there that would know it.

  alias ErlangPython.Callbacks.Running
  alias ErlangPython.Pool.{Contexts, Handle}
  alias ErlangPython.Telemetry.TraceContext

  @enforce_keys [:handle, :slot, :generation, :worker, :writer, :channel, :parent, :id]
  defstruct @enforce_keys ++ [callers: [], trace: nil, context: nil]

  @type t :: %__MODULE__{
          handle: Handle.t(),
          slot: ErlangPython.Pool.Slots.slot(),
          generation: pos_integer(),
          worker: pid(),
          writer: pid(),
          channel: ErlangPython.Worker.channel(),
          parent: non_neg_integer(),
          id: pos_integer(),
          callers: [pid()],
          trace: TraceContext.t() | nil,
          context: Contexts.id() | nil
        }

  @key {__MODULE__, :own}

  @doc "The calling process works on this callback."
  @spec enter(t()) :: term()
  def enter(origin), do: Process.put(@key, origin)

  @doc """
  Does the thread that waits for this callback run what is nested in it? For those of coroutines none waits, and a child
  process is no worker.
  """
  @spec takes_requests?(t()) :: boolean()
  def takes_requests?(%__MODULE__{channel: {kind, _number}}) when kind in [:loop, :child],
    do: false

  def takes_requests?(_blocking), do: true

  @doc "The callback that the calling process works on, if it came out of this pool."
  @spec own(Handle.t()) :: t() | nil
  def own(handle), do: in_pool(Process.get(@key), handle)

  @doc "The calling process works for these, the nearest first."
  @spec adopt([pid()]) :: [pid()]
  def adopt(callers) do
    Process.put(:"$callers", callers)
    callers
  end

  @doc "The trace of the callback that the calling process works on, itself or as a task, in whatever pool."
  @spec trace() :: TraceContext.t() | nil
  def trace do
    with nil <- Process.get(@key), callers when is_list(callers) <- Process.get(:"$callers") do
      Enum.find_value(callers, fn pid ->
        case is_pid(pid) && Running.lookup(pid) do
          %__MODULE__{trace: trace} -> trace
          _none -> nil
        end
      end)
    else
      %__MODULE__{trace: trace} -> trace
      _none -> nil
    end
  end

  @doc "The callback that started the calling process, over any number of tasks."
  @spec ancestor(Handle.t()) :: t() | nil
  def ancestor(handle) do
    Enum.find_value(callers(), &(is_pid(&1) and in_pool(Running.lookup(&1), handle)))
  end

  @doc "The callback out of this worker for which the calling process works, over any number of others: its own, else the nearest."
  @spec at(Handle.t(), Contexts.place()) :: t() | nil
  def at(handle, place) do
    own = own(handle)
    if at?(own, place), do: own, else: Enum.find_value(callers(), &above(&1, handle, place))
  end

  defp above(pid, handle, place) do
    origin = is_pid(pid) && in_pool(Running.lookup(pid), handle)
    if at?(origin, place), do: origin
  end

  defp at?(%__MODULE__{slot: slot, generation: generation}, {slot, generation}), do: true
  defp at?(_elsewhere_or_none, _place), do: false

  @doc "For whom the calling process works, the nearest first; empty if it does not say."
  @spec callers() :: list()
  def callers do
    case Process.get(:"$callers") do
      callers when is_list(callers) -> callers
      _none -> []
    end
  end

  @doc "Does the calling process work on a callback of any pool, or is it a task of one that does?"
  @spec any?() :: boolean()
  def any? do
    Process.get(@key) != nil or
      Enum.any?(Process.get(:"$callers", []), &(is_pid(&1) and Running.lookup(&1) != nil))
  end

  # By its table: a pool that was started again under the same name is another one.
  defp in_pool(%__MODULE__{handle: %{pending: table}} = origin, %{pending: table}), do: origin
  defp in_pool(_other, _handle), do: nil
end
