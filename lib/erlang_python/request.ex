defmodule ErlangPython.Request do
  @moduledoc false
  # One request and its end, as its caller lives through it: encode, hand over, wait, decode.

  alias ErlangPython.Callbacks.Origin
  alias ErlangPython.{Context, Error, Iterator}
  alias ErlangPython.Pool.{Configured, Contexts, Handle, Intake, NoPool, Refs, Slots, Streams}
  alias ErlangPython.Pool.Intake.{Beside, Cancellation, Pinning, Stuck}
  alias ErlangPython.Request.{Message, Options, Progress, Reply}
  alias ErlangPython.Telemetry.{CallSpan, TraceContext}
  alias ErlangPython.Worker.Exit

  # How long a caller waits before it looks whether its worker is held up by a request before its
  # own, or no worker will ever be free (`Intake.Stuck.reconsider/2`); twice as long each time. The latter takes
  # a callback in every worker that serves.
  @longest_patience_ms 1_000
  defp patience(:behind, _handle), do: 2
  defp patience(:queued, handle), do: if(Slots.callbacks?(handle), do: 25, else: 100)
  defp patience(:pinned, _handle), do: 25
  defp patience(place, _handle) when place in [:alone, :beside], do: @longest_patience_ms

  @type result :: {:ok, term()} | {:error, Error.t()}

  @doc "One that leaves nothing open."
  @spec run(Message.t(), Options.t()) :: result()
  def run(message, %{progress: fun} = options) when is_function(fun),
    do: Progress.relayed(fun, &open(message, %{options | progress: &1}))

  def run(message, options), do: open(message, options)

  @doc "One that may leave a stream open in its worker, whose owner is the calling process."
  @spec open(Message.t(), Options.t()) ::
          result() | {:opened, Handle.t(), Streams.t(), term()}
  def open(message, options) do
    deadline = deadline(options.timeout)

    with {:ok, handle} <- pool(message, options) do
      case Slots.observed(handle) do
        0 when options.traceparent == nil ->
          perform(handle, message, options, deadline)

        flags ->
          CallSpan.run(handle, message, options, flags, &perform(handle, message, &1, deadline))
      end
    end
  end

  # One that is not there must not start for a request that its Refs take elsewhere, nor for a context that has gone with it.
  defp pool(message, %{pool: pool} = options) do
    with :error <- Handle.fetch(pool) do
      elsewhere = if options.placed?, do: nil, else: Refs.pool_in(message)

      if options.context,
        do: {:error, Contexts.lost()},
        else: Configured.fetch(elsewhere || pool)
    end
  end

  defp perform(handle, message, options, deadline) do
    id = Slots.next_id(handle)
    max_size = handle.options.max_message_size

    with {:ok, way, placed} <- way(handle, options),
         placed = inherit(placed, way),
         {:ok, wire} <- Message.encode(message, id, placed, max_size, nested?(way)) do
      hand_over(handle, id, wire, way, deadline, placed)
    else
      {:refs, packed, refs} -> follow(refs, packed, message, handle, deadline, options)
      {:error, error} -> {:error, error}
    end
    |> end_iterators()
  end

  # To the worker of its Refs.
  defp follow(refs, packed, message, handle, deadline, options) do
    with {:ok, target, place} <- Refs.place(refs, handle, options),
         id = Slots.next_id(target),
         way = back_or(target, place),
         options = inherit(options, way),
         max_size = target.options.max_message_size,
         {:ok, packed} <- change_context(packed, message, handle, way, options),
         {:ok, wire} <- Message.address(packed, id, options, max_size, nested?(way)),
         {:error, %Error{kind: :context_lost}} <-
           hand_over(target, id, wire, way, deadline, options),
         do: {:error, Refs.lost()}
  end

  # A request out of a coroutine's callback belongs to the coroutine's context, which is in that worker only: the Refs
  # may take it away from there, or back to there out of another pool.
  defp change_context(packed, message, handle, way, %{context: nil} = options) do
    context = context_of(way)

    if context == context_of(Origin.own(handle)) do
      {:ok, packed}
    else
      Iterator.stop(Iterator.take_started())
      max_size = handle.options.max_message_size

      with {:refs, packed, _refs} <-
             Message.pack(message, %{options | context: context}, max_size),
           do: {:ok, packed}
    end
  end

  defp change_context(packed, _message, _handle, _way, _options), do: {:ok, packed}

  defp hand_over(handle, id, wire, way, deadline, options) do
    CallSpan.sent(options, wire)
    handle |> submit(id, wire, way, deadline, options) |> settle(handle, id)
  end

  # The trace goes through a callback also where nobody looks.
  defp inherit(%{trace: nil} = options, %Origin{trace: %TraceContext{} = trace}),
    do: %{options | trace: TraceContext.header(trace, false, false)}

  defp inherit(options, _way), do: options

  # Those in the arguments of a request that Python has never seen, or died with.
  defp end_iterators(result) do
    with [_ | _] = started <- Iterator.take_started(),
         {:error, %Error{kind: kind}} when kind not in [:python, :elixir] <- result,
         do: Iterator.stop(started)

    result
  end

  # To any worker, to that of a context, or back to where the callback came from in which the caller works.
  defp way(handle, %{context: nil} = options) do
    own = Origin.own(handle)

    case context_of(own) do
      nil -> {:ok, own, options}
      context -> {:ok, own, %{options | context: context}}
    end
  end

  defp way(handle, options) do
    with {:ok, place} <- Contexts.fetch(handle, options.context.id),
         do: {:ok, back_or(handle, place), options}
  end

  # Its mode makes no difference to a request.
  defp context_of(%Origin{context: id, handle: handle}) when id != nil,
    do: %Context{id: id, pool: handle.name, mode: :shared}

  defp context_of(_no_coroutines), do: nil

  # Not behind the main thread, where that waits for the callback.
  defp back_or(handle, place) do
    case Origin.at(handle, place) do
      nil -> place
      origin -> if origin == Origin.own(handle), do: origin, else: {:beside, origin}
    end
  end

  defp nested?(way) when way == nil or is_tuple(way), do: false
  defp nested?(origin), do: Origin.takes_requests?(origin)

  defp settle({:opened, value}, handle, id) do
    case Streams.fetch(handle, self(), id) do
      {:ok, stream} -> {:opened, handle, stream, value}
      # Its worker has died since.
      :error -> {:error, Exit.lost_stream()}
    end
  end

  defp settle({:kept, [name, type]}, handle, id), do: Refs.made(handle, id, name, type)
  defp settle(result, _handle, _id), do: result

  # The alias dies with its first answer, so that no second one can ever reach the mailbox.
  defp submit(handle, id, wire, way, deadline, options) do
    alias_ref = :erlang.alias([:reply])

    request = %{
      id: id,
      wire: wire,
      dest: alias_ref,
      tag: alias_ref,
      caller: self(),
      deadline: deadline
    }

    submitted =
      case way do
        {:beside, origin} -> Beside.submit(handle, request, origin)
        {_slot, _generation} -> Pinning.submit(handle, request, way, held_by(options))
        origin_or_none -> Intake.submit(handle, request, origin_or_none)
      end

    case submitted do
      {:ok, place} ->
        if place == :queued, do: CallSpan.queued(options, handle)
        await(handle, id, alias_ref, deadline, patience(place, handle), options)

      {:error, error} ->
        last_word(handle, id, alias_ref, options, error)
    end
  end

  defp held_by(%{context: nil}), do: :refs
  defp held_by(_options), do: :context

  defp await(handle, id, alias_ref, deadline, patience, options) do
    left = remaining(deadline)

    receive do
      {^alias_ref, reply} -> read(reply, options)
    after
      min(left, patience) ->
        if left <= patience do
          give_up(handle, id, alias_ref, options)
        else
          patience = min(patience * 2, @longest_patience_ms)

          if Stuck.reconsider(handle, id) == :gone,
            do: last_word(handle, id, alias_ref, options, NoPool.stopped(handle, :maybe)),
            else: await(handle, id, alias_ref, deadline, patience, options)
        end
    end
  end

  defp give_up(handle, id, alias_ref, options) do
    executed = Cancellation.cancel(handle, id)
    last_word(handle, id, alias_ref, options, timeout(handle, executed, options.timeout))
  end

  # An answer that came meanwhile is better than none, and must not stay in the mailbox.
  defp last_word(handle, id, alias_ref, options, error) do
    :erlang.unalias(alias_ref)

    receive do
      {^alias_ref, reply} -> read(reply, options)
    after
      0 ->
        # Its answer may have been on its way, and found nobody.
        Streams.drop(handle, self(), id)
        Refs.drop(handle, self(), id)
        {:error, error}
    end
  end

  defp read(%Error{} = error, _options), do: {:error, error}

  defp read(reply, %{observed: true} = options),
    do: reply |> CallSpan.received() |> Reply.read(options.face)

  defp read(reply, options), do: Reply.read(reply, options.face)

  @doc "What its caller is told when the time has passed."
  @spec timeout(Handle.t(), :no | :maybe, timeout()) :: Error.t()
  def timeout(handle, executed, timeout) do
    what =
      case executed do
        :no -> "still waited for a worker of the pool #{inspect(handle.name)}"
        :maybe -> "had no result"
      end

    more =
      cond do
        executed == :maybe ->
          "; Python was told to stop"

        Slots.all_starting?(handle) ->
          "; all of them are still starting: installing what they need, or importing what :preload names"

        true ->
          ""
      end

    %Error{
      kind: :timeout,
      message: "the request #{what} after #{timeout} ms#{more}",
      executed: executed,
      details: %{timeout: timeout}
    }
  end

  @type deadline :: integer() | :infinity

  @spec deadline(timeout()) :: deadline()
  def deadline(:infinity), do: :infinity
  def deadline(timeout), do: System.monotonic_time(:millisecond) + timeout

  @spec remaining(deadline()) :: timeout()
  def remaining(:infinity), do: :infinity
  def remaining(deadline), do: max(deadline - System.monotonic_time(:millisecond), 0)
end
