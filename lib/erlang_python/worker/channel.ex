defmodule ErlangPython.Worker.Channel do
  @moduledoc false
  # What the reader of a worker's connection does with its messages. Results go from here to
  # their callers, whichever channel they come on; all else goes to the worker's process.

  @behaviour ErlangPython.ZMTP.Handler

  import ErlangPython.Callbacks.Incoming, only: [is_callback: 1]
  import ErlangPython.Pool.Pending.Row, only: [row: 1]

  alias ErlangPython.Callbacks.{Incoming, Running}
  alias ErlangPython.Pool.{Directory, Handle, Pending, Queue, Refs, Slots, Streams, Window}
  alias ErlangPython.{MessagePack, Protocol, Worker}
  alias ErlangPython.Telemetry.Traces
  alias ErlangPython.Worker.{CallerOutput, LogRecord}

  require Protocol

  @impl true
  def init(peer, writer, %Handle{} = handle) do
    {token, channel} = channel(peer.routing_id)

    with worker when is_pid(worker) <- Directory.token_owner(handle, token),
         {:ok, slot, generation} <- Worker.attach(worker, channel, writer, peer.os_pid) do
      Process.monitor(worker)

      {:ok,
       %{
         handle: handle,
         channel: channel,
         worker: worker,
         writer: writer,
         slot: slot,
         # The place of the requests whose end frees the main thread.
         occupied: if(channel == :main, do: slot, else: :none),
         generation: generation,
         window: Window.new(handle.options.window),
         output: CallerOutput.new(),
         # The request that has logged last, and the metadata of its caller.
         logged: {0, %{}}
       }}
    else
      nil -> {:reject, "no worker was started with this token"}
      {:error, reason} -> {:reject, reason}
    end
  rescue
    # The tables have gone, and the pool with them.
    ArgumentError -> {:reject, "its pool has ended"}
  end

  defp channel(<<token::binary-size(32)>>), do: {token, :main}
  defp channel(<<token::binary-size(32), "/control">>), do: {token, :control}
  defp channel(<<token::binary-size(32), "/t", number::binary>>), do: {token, {:thread, number}}
  defp channel(<<token::binary-size(32), "/a", number::binary>>), do: {token, {:loop, number}}
  defp channel(<<token::binary-size(32), "/c", number::binary>>), do: {token, {:child, number}}
  defp channel(other), do: {other, :unknown}

  @impl true
  def handle_messages(messages, state) do
    answer(messages, state, 0, nil)
  rescue
    error in ArgumentError ->
      Handle.reraise_unless_gone(state.handle, error, __STACKTRACE__)
      {:close, :pool_ended}
  end

  # The hot path. `count` results of this packet have been given to their callers, of
  # which the first was sent at `sent_at`; the slot is released for all of them at once.
  defp answer(
         [[<<_buffers::1, type::7, id::64, _::binary>> | _] = message | rest],
         state,
         count,
         sent_at
       )
       when type in [Protocol.type(:result), Protocol.type(:error), Protocol.type(:cancelled)],
       do: ended(id, message, rest, state, count, sent_at)

  defp answer(
         [[<<_buffers::1, type::7, id::64, _::binary>> | _] = message | rest],
         state,
         count,
         sent_at
       )
       when type in [Protocol.type(:opened), Protocol.type(:kept)],
       do: left(type, id, message, rest, state, count, sent_at)

  # One of these, with its times: its caller gets those, and from whom.
  defp answer(
         [
           [<<_buffers::1, Protocol.type(:timed)::7, id::64, _times::128, type, _::binary>> | _] =
             message
           | rest
         ],
         state,
         count,
         sent_at
       ) do
    timed = {:timed, state.slot, message}

    if type in [Protocol.type(:opened), Protocol.type(:kept)],
      do: left(type, id, timed, rest, state, count, sent_at),
      else: ended(id, timed, rest, state, count, sent_at)
  end

  defp answer(
         [[<<_buffers::1, Protocol.type(:detached)::7, id::64>>] | rest],
         %{channel: :main} = state,
         count,
         sent_at
       ) do
    case Pending.detach(state.handle, id, state.slot, state.generation) do
      {:ok, sent} ->
        answer(rest, state, count + 1, sent_at || sent)

      {:pinned, wire} ->
        count_beside(state, wire)
        left_main_thread(state, id, false)
        answer(rest, state, count, sent_at)

      # Its end was faster.
      false ->
        answer(rest, state, count, sent_at)
    end
  end

  defp answer(
         [[<<_buffers::1, 0::1, type::6, id::64, _::binary>> | _] = message | rest],
         state,
         count,
         sent_at
       )
       when is_callback(type) do
    Incoming.serve(type, id, message, state)
    answer(rest, state, count, sent_at)
  end

  defp answer(
         [[<<_buffers::1, Protocol.type(:output)::7, id::64, body::binary>>] = message | rest],
         state,
         count,
         sent_at
       ) do
    case MessagePack.decode(body) do
      {:ok, [_stream, text]} when is_binary(text) ->
        answer(rest, write(state, id, text), count, sent_at)

      _other ->
        send(state.worker, {:message, state.channel, message})
        answer(rest, state, count, sent_at)
    end
  end

  defp answer(
         [[<<_buffers::1, Protocol.type(:log)::7, id::64, body::binary>>] | rest],
         state,
         count,
         sent_at
       ) do
    {metadata, state} = logger_metadata(state, id)
    send(state.worker, {:log, metadata, body})
    answer(rest, state, count, sent_at)
  end

  defp answer(
         [[<<_buffers::1, Protocol.type(:spans)::7, _id::64, body::binary>>] = message | rest],
         state,
         count,
         sent_at
       ) do
    if Traces.receive_from(state.handle, state.slot, body) == :error,
      do: send(state.worker, {:message, state.channel, message})

    answer(rest, state, count, sent_at)
  end

  defp answer([message | rest], state, count, sent_at) do
    state = count_ended(state, count, sent_at)
    send(state.worker, {:message, state.channel, message})
    answer(rest, state, 0, nil)
  end

  defp answer([], state, count, sent_at), do: {:ok, count_ended(state, count, sent_at)}

  defp ended(id, message, rest, state, count, sent_at) do
    occupied = state.occupied

    case Pending.take(state.handle, id) do
      row(dest: dest, tag: tag, place: ^occupied, sent_at: sent) ->
        Pending.answer(dest, tag, message)
        answer(rest, state, count + 1, sent_at || sent)

      # It was outside the window, or had been taken from this worker, which answers all the same.
      row(dest: dest, tag: tag, place: place, wire: wire) ->
        Pending.answer(dest, tag, message)
        Pending.vacate(state.handle, place)
        count_beside(state, wire)
        left_main_thread(state, id, place > 0)
        answer(rest, state, count, sent_at)

      # Its end came before.
      nil ->
        left_main_thread(state, id, false)
        answer(rest, state, count, sent_at)
    end
  end

  # It has left something in the worker: a stream, or its value.
  defp left(type, id, message, rest, %{handle: handle} = state, count, sent_at) do
    owners = if type == Protocol.type(:opened), do: Streams, else: Refs
    left = owners.opened(handle, id, state.slot, state.generation)
    occupied = state.occupied

    case Pending.take(handle, id) do
      row(dest: dest, tag: tag, place: place, sent_at: sent, wire: wire) ->
        owners.confirm(handle, left, dest)
        Pending.answer(dest, tag, message)

        if place == occupied do
          answer(rest, state, count + 1, sent_at || sent)
        else
          Pending.vacate(handle, place)
          count_beside(state, wire)
          left_main_thread(state, id, place > 0)
          answer(rest, state, count, sent_at)
        end

      nil ->
        owners.confirm(handle, left, nil)
        left_main_thread(state, id, false)
        answer(rest, state, count, sent_at)
    end
  end

  # One outside the window may have held the main thread; that of one inside is free if its end has overtaken its DETACHED.
  defp left_main_thread(%{handle: handle} = state, id, released?) do
    opened? = Slots.let_go(handle, state.slot, id)
    if (opened? or released?) and Slots.queued(handle) > 0, do: Queue.dispatch(handle)
  end

  # Asked here and now: the request's end may be the next message, and its caller about something else then.
  defp logger_metadata(%{logged: {id, metadata}} = state, id), do: {metadata, state}

  defp logger_metadata(state, id) do
    metadata = state.handle |> Pending.caller(id) |> LogRecord.caller_metadata()
    {metadata, %{state | logged: {id, metadata}}}
  end

  defp write(state, id, text) do
    {written, output} = CallerOutput.write(state.output, state.handle, id, text)
    if written == :unclaimed, do: send(state.worker, {:unclaimed, text})
    %{state | output: output}
  end

  defp count_ended(state, 0, _sent_at), do: state

  defp count_ended(%{handle: handle, slot: slot} = state, count, sent_at) do
    now = System.monotonic_time(:microsecond)
    Slots.put_last_end(handle, slot, now)
    window = Window.observe(state.window, count, sent_at, now)
    Slots.add_served(handle, slot, count)
    left = Slots.left(handle, slot)
    adapt(handle, slot, Slots.window(handle, slot), min(Window.size(window), left))
    # Before their places are free.
    Slots.limit_window(handle, slot, left)
    free(state, count)
    retire(state, left)
    %{state | window: window}
  end

  defp free(%{handle: handle, slot: slot} = state, count) do
    Slots.release(handle, slot, count)
    if Slots.queued(handle) > 0, do: Queue.fill(handle, slot, state.generation, state.writer)
  end

  defp adapt(_handle, _slot, size, size), do: :ok
  # Closed: the worker drains.
  defp adapt(_handle, _slot, 0, _size), do: :ok
  defp adapt(handle, slot, old, new), do: Slots.adapt_window(handle, slot, old, new)

  # Others count when they leave the main thread, or not at all.
  defp count_beside(%{handle: handle, slot: slot} = state, wire)
       when is_list(wire) or is_binary(wire) or elem(wire, 0) == :context do
    Slots.add_served(handle, slot, 1)
    left = Slots.left(handle, slot)
    Slots.limit_window(handle, slot, left)
    retire(state, left)
  end

  defp count_beside(_state, _wire), do: :ok

  # The end of its last context retires it otherwise.
  defp retire(state, 0), do: send(state.worker, {:retire, :max_requests})
  defp retire(_state, _left), do: :ok

  @impl true
  def handle_info({:DOWN, _ref, :process, worker, _reason}, %{worker: worker}),
    do: {:close, :worker_down}

  def handle_info(message, state) do
    case CallerOutput.settle(state.output, message) do
      {:ok, output} ->
        {:ok, %{state | output: output}}

      {{:unclaimed, text}, output} ->
        send(state.worker, {:unclaimed, text})
        {:ok, %{state | output: output}}

      :other ->
        other(message, state)
    end
  end

  defp other({:DOWN, _ref, :process, callback, reason}, state) do
    Incoming.ended(state.handle, callback, reason)
    # Python would wait for its answer for ever.
    if Running.there?(), do: {:ok, state}, else: {:close, :no_application}
  end

  # The OS process has ended.
  defp other(:finish, state), do: {:finish, state}

  defp other(_message, state), do: {:ok, state}

  @impl true
  def handle_close(_reason, state) do
    # First: whom the reader watches then, other than the worker, works on a callback.
    CallerOutput.close(state.output)
    Incoming.abandon(state)
  end
end
