defmodule ErlangPython.ZMTP.RoutingTable do
  @moduledoc false
  # Who holds which routing id, as a value. An id has one holder; it is free again when that
  # holder's reader has ended, so the ends of the old connection come before the starts
  # of the new one also in a handover.

  @enforce_keys [:next_id]
  defstruct holders: %{}, waiting: %{}, next_id: 0

  @type holder :: %{reader: pid(), writer: pid(), socket: :gen_tcp.socket(), from: term()}
  @opaque t :: %__MODULE__{
            holders: %{binary() => holder()},
            waiting: %{binary() => holder()},
            next_id: 0..0xFFFFFFFF
          }

  @doc "Made-up ids count on from `first_id`; like libzmq's, they should begin at random."
  @spec new(0..0xFFFFFFFF) :: t()
  def new(first_id), do: %__MODULE__{next_id: first_id}

  @doc """
  A connection asks for an id, or with an empty one for any. Under a handover it waits for
  the old holder, which must be ended; whoever waited before it is turned away.
  """
  @spec claim(t(), binary(), holder(), handover? :: boolean()) ::
          {:ok, binary(), t()}
          | {:error, :in_use}
          | {:wait, old :: holder(), turned_away :: holder() | nil, t()}
  def claim(table, <<>>, holder, _handover?) do
    # rfc.zeromq.org/spec/37, "The Identity Property": ids that begin with a zero octet are
    # for implementations' own use.
    id = <<0, table.next_id::32>>
    table = %{table | next_id: rem(table.next_id + 1, 0x1_0000_0000)}

    if Map.has_key?(table.holders, id),
      do: claim(table, <<>>, holder, false),
      else: {:ok, id, hold(table, id, holder)}
  end

  def claim(table, id, holder, handover?) do
    case table.holders do
      %{^id => old} when handover? ->
        {:wait, old, table.waiting[id], put_in(table.waiting[id], holder)}

      %{^id => _old} ->
        {:error, :in_use}

      _free ->
        {:ok, id, hold(table, id, holder)}
    end
  end

  @doc "A reader has ended. Its id goes to the one that waits for it, if any."
  @spec release(t(), reader :: pid()) ::
          {released :: holder() | nil, next :: {binary(), holder()} | nil, t()}
  def release(table, reader) do
    waiting = Map.reject(table.waiting, fn {_id, holder} -> holder.reader == reader end)
    table = %{table | waiting: waiting}

    case Enum.find(table.holders, fn {_id, holder} -> holder.reader == reader end) do
      nil -> {nil, nil, table}
      {id, holder} -> hand_on(table, id, holder)
    end
  end

  defp hand_on(table, id, holder) do
    table = %{table | holders: Map.delete(table.holders, id)}

    case Map.pop(table.waiting, id) do
      {nil, _waiting} -> {holder, nil, table}
      {next, waiting} -> {holder, {id, next}, hold(%{table | waiting: waiting}, id, next)}
    end
  end

  @spec fetch(t(), binary()) :: {:ok, holder()} | :error
  def fetch(table, id), do: Map.fetch(table.holders, id)

  @doc "The holder, present or waiting, with this writer."
  @spec find_writer(t(), pid()) :: holder() | nil
  def find_writer(table, writer),
    do: Enum.find(all(table), &(&1.writer == writer))

  @spec all(t()) :: [holder()]
  def all(table), do: Map.values(table.holders) ++ Map.values(table.waiting)

  defp hold(table, id, holder), do: %{table | holders: Map.put(table.holders, id, holder)}
end
