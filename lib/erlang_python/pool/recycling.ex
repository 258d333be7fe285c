defmodule ErlangPython.Pool.Recycling do
  @moduledoc false
  # Which workers are to be replaced, one at a time (pure): the next only when the place of the one before is filled
  # again, so that a pool never has more than one worker less.

  alias ErlangPython.Pool.Slots

  defstruct current: nil, queue: :queue.new()

  @opaque t :: %__MODULE__{current: Slots.slot() | nil, queue: :queue.queue(Slots.slot())}

  @spec new() :: t()
  def new, do: %__MODULE__{}

  @doc "Its turn comes once, however often it is asked for meanwhile."
  @spec add(t(), Slots.slot()) :: t()
  def add(recycling, slot) do
    if slot == recycling.current or :queue.member(slot, recycling.queue),
      do: recycling,
      else: %{recycling | queue: :queue.in(slot, recycling.queue)}
  end

  @doc """
  Whose turn it is now: the first that is ready for it, for what is not is being replaced anyhow, or has gone.
  `:busy` while another's lasts, `:done` if there is none.
  """
  @spec next(t(), ready? :: (Slots.slot() -> boolean())) ::
          {:replace, Slots.slot(), t()} | {:done, t()} | :busy
  def next(%{current: nil} = recycling, ready?) do
    case :queue.out(recycling.queue) do
      {{:value, slot}, queue} ->
        if ready?.(slot),
          do: {:replace, slot, %{recycling | current: slot, queue: queue}},
          else: next(%{recycling | queue: queue}, ready?)

      {:empty, _queue} ->
        {:done, recycling}
    end
  end

  def next(_recycling, _ready?), do: :busy

  @spec current?(t(), Slots.slot()) :: boolean()
  def current?(recycling, slot), do: recycling.current == slot

  @doc "The place of the current one is filled again."
  @spec over(t()) :: t()
  def over(recycling), do: %{recycling | current: nil}
end
