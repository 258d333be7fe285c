defmodule ErlangPython.Worker.CallerOutput do
  @moduledoc false
  # What requests print, on its way from a reader to the group leaders of their callers.
  #
  # The reader sends the I/O requests itself, so that they stand in the group leader's mailbox before the
  # reply stands in the caller's, and takes note of the answers when they come. It waits for none:
  # a group leader that is slow or stuck holds nobody up, and what it is too far behind with is left out. What
  # reaches no group leader is given back, to be logged.

  alias ErlangPython.Callbacks.Asker
  alias ErlangPython.Pool.{Handle, Pending}

  # Bytes that may be under way to group leaders. An I/O request takes more than its text.
  @limit 16_000_000
  # Who is too far behind gets no more until it is as near as this, so that what is left out is one piece.
  @resumed_below 8_000_000
  @overhead 200

  defstruct under_way: %{}, size: 0, left_out: %{}, last: {0, nil}

  @type t :: %__MODULE__{
          under_way: %{optional(reference()) => {pid(), String.t()}},
          size: non_neg_integer(),
          left_out: %{optional(pid()) => pos_integer()},
          last: {non_neg_integer(), pid() | nil}
        }

  @spec new() :: t()
  def new, do: %__MODULE__{}

  @doc "Sends on what a request has printed; `:unclaimed` if nobody is there to get it."
  @spec write(t(), Handle.t(), Pending.id(), String.t()) :: {:ok | :unclaimed, t()}
  def write(output, handle, id, text) do
    case group_leader(output, handle, id) do
      nil -> {:unclaimed, output}
      leader -> {:ok, send_to(%{output | last: {id, leader}}, leader, text)}
    end
  end

  # The caller may have another group leader for its next request.
  defp group_leader(%{last: {id, leader}}, handle, id) when leader != nil,
    do: if(Pending.member?(handle, id), do: leader)

  defp group_leader(_output, handle, id), do: Asker.group_leader(handle, id)

  defp send_to(output, leader, text) do
    if output.size > limit(output, leader),
      do: leave_out(output, leader, byte_size(text)),
      else: request(output, leader, text)
  end

  defp limit(%{left_out: left_out}, leader) when is_map_key(left_out, leader), do: @resumed_below
  defp limit(_output, _leader), do: @limit

  defp request(output, leader, text) do
    {skipped, left_out} = Map.pop(output.left_out, leader, 0)
    text = note(skipped) <> text
    ref = Process.monitor(leader)
    request = {:io_request, self(), ref, {:put_chars, :unicode, text}}

    # A group leader on another node, in a shell that was opened from there, must not suspend the reader.
    case :erlang.send(leader, request, [:nosuspend]) do
      :ok ->
        under_way = Map.put(output.under_way, ref, {leader, text})
        %{output | under_way: under_way, size: output.size + cost(text), left_out: left_out}

      :nosuspend ->
        Process.demonitor(ref, [:flush])
        leave_out(output, leader, byte_size(text))
    end
  end

  defp leave_out(output, leader, size),
    do: %{output | left_out: Map.update(output.left_out, leader, size, &(&1 + size))}

  defp note(0), do: ""
  defp note(skipped), do: "[#{skipped} bytes left out: more than could be written]\n"

  defp cost(text), do: byte_size(text) + @overhead

  @doc "The reader ends: no answer is waited for any more, and no group leader is watched."
  @spec close(t()) :: :ok
  def close(%{under_way: under_way}),
    do: Enum.each(under_way, fn {ref, _written} -> Process.demonitor(ref, [:flush]) end)

  @doc "A message that may be a group leader's answer, or tell its end."
  @spec settle(t(), message :: term()) :: {:ok | {:unclaimed, String.t()}, t()} | :other
  def settle(output, {:io_reply, ref, reply}) do
    # An answer that was on its way when its group leader was given up is nobody's.
    with {{leader, text}, output} <- take(output, ref) do
      Process.demonitor(ref, [:flush])
      {if(reply == :ok, do: :ok, else: {:unclaimed, text}), resume(output, leader)}
    end
  end

  def settle(%{under_way: under_way} = output, {:DOWN, ref, :process, _leader, _reason})
      when is_map_key(under_way, ref) do
    {{leader, text}, output} = take(output, ref)
    {{:unclaimed, text}, %{output | left_out: Map.delete(output.left_out, leader)}}
  end

  def settle(_output, _message), do: :other

  # Nothing may come after what was left out.
  defp resume(%{left_out: left_out} = output, leader) when is_map_key(left_out, leader),
    do: if(output.size > @resumed_below, do: output, else: request(output, leader, ""))

  defp resume(output, _leader), do: output

  defp take(output, ref) do
    case Map.pop(output.under_way, ref) do
      {nil, _under_way} ->
        :other

      {{_leader, text} = written, under_way} ->
        {written, %{output | under_way: under_way, size: output.size - cost(text)}}
    end
  end
end
