defmodule ErlangPython.Stream.Pull do
  @moduledoc false
  # One request for the next items of a stream, and its end.
  #
  # Python collects for a short time before it answers. If the generator stops to work in the middle of that,
  # the items that are ready must not wait for it: after some patience the control thread is
  # asked for them. They come before those of the answer, which therefore is not looked at while a flush is
  # under way.

  alias ErlangPython.{Error, MessagePack, Timeout}
  alias ErlangPython.Pool.{Directory, Handle, NoPool, Slots, Streams}
  alias ErlangPython.Pool.Intake.{Cancellation, Pinning, Stuck}
  alias ErlangPython.Request
  alias ErlangPython.Request.{Options, Reply}

  @enforce_keys [:handle, :stream, :id, :ref, :most, :trace, :started, :flush_after, :patience]
  defstruct @enforce_keys

  @opaque t :: %__MODULE__{
            handle: Handle.t(),
            stream: Streams.t(),
            id: pos_integer(),
            ref: reference(),
            most: pos_integer(),
            trace: binary() | nil,
            started: integer(),
            flush_after: pos_integer() | nil,
            patience: pos_integer()
          }

  # A little more than Python collects.
  @flush_after_ms 3
  # A pull that has not begun has nothing to flush; it is asked again, less and less often.
  @longest_flush_ms 100
  # It may wait for a worker that is stuck; that is looked at less and less often, too.
  @patience_ms 25
  @longest_patience_ms 1_000

  @typedoc "Items that are ready while the pull goes on, or its end with the microseconds that it took."
  @type result ::
          {:flushed, [term()], t()}
          | {:ended, {:ok, term()} | {:error, Error.t()}, non_neg_integer()}

  # The alias goes from here to each `receive` as an argument of its own, never through a struct: so the compiler knows that no
  # message before it can match, and a reader with a full mailbox does not search all of it for each pull.

  @doc "Starts a pull and waits for items, as `await/2` does. `trace`: what it brings of one."
  @spec take(Handle.t(), Streams.t(), pos_integer(), trace :: binary() | nil, Options.t()) ::
          result()
  def take(handle, stream, most, trace, options) do
    ref = :erlang.alias([:reply])

    pull = %__MODULE__{
      handle: handle,
      stream: stream,
      id: Slots.next_id(handle),
      ref: ref,
      most: most,
      trace: trace,
      started: now_us(),
      # A pull of one item ends with it.
      flush_after: if(most > 1, do: @flush_after_ms),
      patience: @patience_ms
    }

    case submit(pull) do
      :ok ->
        await(pull, ref, options, Request.deadline(options.timeout))

      {:error, error} ->
        :erlang.unalias(ref)
        {:ended, {:error, error}, 0}
    end
  end

  defp submit(%{handle: handle, stream: stream, id: id, ref: ref} = pull) do
    message = {:pull, stream.id, pull.most, pull.trace}
    part = %{id: id, message: message, dest: ref, tag: ref, caller: self()}
    Pinning.pin(handle, part, stream.slot, stream.generation)
  end

  @doc "Waits for items of a pull that goes on."
  @spec await(t(), Options.t()) :: result()
  def await(pull, options), do: await(pull, pull.ref, options, Request.deadline(options.timeout))

  defp await(pull, ref, options, deadline) do
    left = Request.remaining(deadline)
    patience = min(left, pull.flush_after || pull.patience)

    receive do
      {^ref, reply} -> ended(pull, reply, options)
    after
      patience ->
        cond do
          patience == left ->
            give_up(pull, options)

          pull.flush_after ->
            flush(pull, ref, options, deadline)

          Stuck.reconsider(pull.handle, pull.id) == :gone ->
            last_word(pull, options, stopped(pull))

          true ->
            patience = min(2 * pull.patience, @longest_patience_ms)
            await(%{pull | patience: patience}, ref, options, deadline)
        end
    end
  end

  defp ended(pull, reply, options),
    do: {:ended, Reply.read(reply, options.face), now_us() - pull.started}

  defp flush(%{handle: handle, stream: stream} = pull, ref, options, deadline) do
    generation = stream.generation

    case Directory.worker(handle, stream.slot) do
      {^generation, worker, _writer} ->
        flushed = :erlang.monitor(:process, worker, alias: :reply_demonitor)
        send(worker, {:flush, pull.id, flushed})
        await_flushed(pull, ref, flushed, options, deadline)

      # Its end comes.
      _gone ->
        await(%{pull | flush_after: nil}, ref, options, deadline)
    end
  rescue
    error in ArgumentError ->
      Handle.reraise_unless_gone(handle, error, __STACKTRACE__)
      await(%{pull | flush_after: nil}, ref, options, deadline)
  end

  defp await_flushed(pull, ref, flushed, options, deadline) do
    receive do
      {^flushed, body} ->
        flushed(pull, ref, MessagePack.decode(body, [], options.face), options, deadline)

      {:DOWN, ^flushed, :process, _worker, _reason} ->
        await(%{pull | flush_after: nil}, ref, options, deadline)
    after
      Timeout.receivable(Request.remaining(deadline)) ->
        Process.demonitor(flushed, [:flush])

        # It may have come just before; the reader gives up all the same.
        receive do
          {^flushed, _body} -> :ok
        after
          0 -> :ok
        end

        give_up(pull, options)
    end
  end

  # Flushed or not, a pull that was asked ends with its next item.
  defp flushed(pull, ref, {:ok, []}, options, deadline),
    do: await(%{pull | flush_after: nil}, ref, options, deadline)

  defp flushed(pull, _ref, {:ok, [_ | _] = items}, _options, _deadline),
    do: {:flushed, items, %{pull | flush_after: nil}}

  # It does not run: it waits for another request, or has ended.
  defp flushed(pull, ref, {:ok, _nil}, options, deadline) do
    Stuck.reconsider(pull.handle, pull.id)
    pull = %{pull | flush_after: min(2 * pull.flush_after, @longest_flush_ms)}
    await(pull, ref, options, deadline)
  end

  defp flushed(pull, _ref, {:error, error}, _options, _deadline) do
    abandon(pull)
    {:ended, {:error, Reply.undecodable(error)}, now_us() - pull.started}
  end

  defp give_up(pull, options) do
    Cancellation.cancel(pull.handle, pull.id)
    last_word(pull, options, timeout(options.timeout))
  end

  # An answer that came meanwhile is better than none, and must not stay in the mailbox.
  defp last_word(%{ref: ref} = pull, options, error) do
    :erlang.unalias(ref)

    receive do
      {^ref, reply} -> ended(pull, reply, options)
    after
      0 -> {:ended, {:error, error}, now_us() - pull.started}
    end
  end

  @doc "Stops a pull whose items nobody wants any more."
  @spec abandon(t()) :: :ok
  def abandon(%{ref: ref} = pull) do
    Cancellation.cancel(pull.handle, pull.id)
    :erlang.unalias(ref)

    receive do
      {^ref, _reply} -> :ok
    after
      0 -> :ok
    end
  end

  defp stopped(pull), do: NoPool.stopped(pull.handle, :maybe)

  defp timeout(timeout) do
    %Error{
      kind: :timeout,
      message: "the stream had no further item after #{timeout} ms; Python was told to stop",
      executed: :maybe,
      details: %{timeout: timeout}
    }
  end

  defp now_us, do: System.monotonic_time(:microsecond)
end
