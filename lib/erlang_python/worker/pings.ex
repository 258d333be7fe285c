defmodule ErlangPython.Worker.Pings do
  @moduledoc false
  # Questions on the control channel that wait for their answers, and who asked each (pure).

  defstruct next: 1, waiting: %{}

  @type asker :: :heartbeat | :memory | GenServer.from()
  @type t :: %__MODULE__{next: pos_integer(), waiting: %{pos_integer() => asker()}}

  @spec new() :: t()
  def new, do: %__MODULE__{}

  @spec add(t(), asker()) :: {id :: pos_integer(), t()}
  def add(%{next: id} = pings, asker),
    do: {id, %{pings | next: id + 1, waiting: Map.put(pings.waiting, id, asker)}}

  @spec take(t(), non_neg_integer()) :: {asker() | nil, t()}
  def take(pings, id) do
    {asker, waiting} = Map.pop(pings.waiting, id)
    {asker, %{pings | waiting: waiting}}
  end

  @spec waiting?(t(), asker()) :: boolean()
  def waiting?(pings, asker), do: asker in Map.values(pings.waiting)
end
