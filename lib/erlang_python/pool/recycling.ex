defmodule ErlangPython.Pool.Recycling do
  @moduledoc false
  # Which workers are to be replaced, one at a time (pure): the next when the place of the one before is filled again, so
  # that a pool has one worker less at most, or when that one has had its time (`over/1`).

  alias ErlangPython.Pool.Slots

  defstruct current: nil, queue: :queue.new()

  @typedoc "A worker; who has its place later is another."
  @type worker :: {Slots.slot(), generation :: pos_integer()}

  @opaque t :: %__MODULE__{current: worker() | nil, queue: :queue.queue(worker())}

  @spec new() :: t()
  def new, do: %__MODULE__{}

  @doc "Its turn comes once, however often it is asked for meanwhile."
  @spec add(t(), worker()) :: t()
  def add(recycling, worker) do
    if worker == recycling.current or queued?(recycling, worker),
      do: recycling,
      else: %{recycling | queue: :queue.in(worker, recycling.queue)}
  end

  @doc "Is its turn still to come?"
  @spec queued?(t(), worker()) :: boolean()
  def queued?(recycling, worker), do: :queue.member(worker, recycling.queue)

  @doc """
  Whose turn it is now: the first that is ready for it, for what is not is being replaced anyhow, or has gone.
  `:busy` while another's lasts, `:done` if there is none.
  """
  @spec next(t(), ready? :: (worker() -> boolean())) ::
          {:replace, worker(), t()} | {:done, t()} | :busy
  def next(%{current: nil} = recycling, ready?) do
    case :queue.out(recycling.queue) do
      {{:value, worker}, queue} ->
        if ready?.(worker),
          do: {:replace, worker, %{recycling | current: worker, queue: queue}},
          else: next(%{recycling | queue: queue}, ready?)

      {:empty, _queue} ->
        {:done, recycling}
    end
  end

  def next(_recycling, _ready?), do: :busy

  @spec current?(t(), worker()) :: boolean()
  def current?(recycling, worker), do: recycling.current == worker

  @doc "This place is filled again."
  @spec filled(t(), Slots.slot()) :: t()
  def filled(%{current: {slot, _generation}} = recycling, slot), do: over(recycling)
  def filled(recycling, _slot), do: recycling

  @doc "The current turn ends."
  @spec over(t()) :: t()
  def over(recycling), do: %{recycling | current: nil}

  @doc "This place can't be filled: the others stay as they are, for better old workers than none."
  @spec failed(t(), Slots.slot()) :: t()
  def failed(recycling, slot), do: %{filled(recycling, slot) | queue: :queue.new()}
end
