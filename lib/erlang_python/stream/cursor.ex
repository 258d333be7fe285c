defmodule ErlangPython.Stream.Cursor do
  @moduledoc false
  # A reader's place in an open stream: what it has asked for, and what it asks for next. It holds no
  # items: each step hands on those that came.

  alias ErlangPython.{Error, Request}
  alias ErlangPython.Pool.{Handle, Intake.Stuck, Streams}
  alias ErlangPython.Request.{Message, Options, Reply}
  alias ErlangPython.Stream.{Demand, Pull}
  alias ErlangPython.Telemetry.StreamSpan

  @enforce_keys [:handle, :stream, :options]
  defstruct @enforce_keys ++ [pull: nil, most: 1, span: nil, seen: nil]

  @type t :: %__MODULE__{
          handle: Handle.t(),
          stream: Streams.t(),
          options: Options.t(),
          pull: Pull.t() | nil,
          most: pos_integer(),
          span: StreamSpan.t() | nil,
          seen: :atomics.atomics_ref() | nil
        }

  @typedoc "Items, and what comes after them."
  @type step :: {[term()], t() | :done | {:failed, Error.t()}}

  # A close may wait for a worker that is stuck, or a pool that is gone; that is looked at less and less often.
  @patience_ms 25
  @longest_patience_ms 1_000

  @doc "Opens a stream, with the calling process as its owner, and takes its first item."
  @spec open(Message.t(), Options.t()) :: step()
  def open(message, options) do
    {span, options} = StreamSpan.start(message, options)
    message |> first(options) |> StreamSpan.step(span)
  end

  defp first(message, options) do
    case Request.open(message, options) do
      {:opened, handle, stream, [items, _not_ended]} -> {items, new(handle, stream, options)}
      {:ok, [items, ending]} -> {items, over(ending)}
      {:error, error} -> {[], {:failed, error}}
    end
  end

  @doc """
  `seen` is shared by all readers of a stream that others may close: 1 once one of them has come to its end, or has closed
  it himself.
  """
  @spec new(Handle.t(), Streams.t(), Options.t(), :atomics.atomics_ref() | nil) :: t()
  def new(handle, stream, options, seen \\ nil),
    do: %__MODULE__{handle: handle, stream: stream, options: options, seen: seen}

  @doc "Waits for further items, no longer than the request's timeout."
  @spec next(t()) :: step()
  def next(%{span: span} = cursor) do
    waiting = StreamSpan.wait(span)
    cursor |> pull() |> StreamSpan.step(waiting)
  end

  defp pull(%{pull: nil} = cursor) do
    trace = StreamSpan.header(cursor.span)
    taken = Pull.take(cursor.handle, cursor.stream, cursor.most, trace, cursor.options)
    taken(cursor, taken)
  end

  defp pull(%{pull: pull, options: options} = cursor),
    do: taken(cursor, Pull.await(pull, options))

  defp taken(cursor, taken) do
    case taken do
      {:flushed, items, pull} -> {items, %{cursor | pull: pull}}
      {:ended, {:ok, [items, ending]}, elapsed} -> ended(cursor, items, ending, elapsed)
      {:ended, {:error, error}, _elapsed} -> failed(cursor, error)
    end
  end

  # `nil` under the Erlang face.
  defp ended(cursor, items, ending, elapsed) when ending in [nil, :none] do
    most = Demand.next(cursor.most, length(items), elapsed)
    {items, %{cursor | pull: nil, most: most}}
  end

  defp ended(cursor, items, ending, _elapsed) do
    closed? = closed_by_others?(cursor) and ending == true
    Streams.remove(cursor.handle, cursor.stream)
    {items, if(closed?, do: {:failed, closed()}, else: over(ending))}
  rescue
    error in ArgumentError ->
      Handle.reraise_unless_gone(cursor.handle, error, __STACKTRACE__)
      {items, over(ending)}
  end

  defp over(true), do: :done
  defp over(failure) when is_binary(failure), do: {:failed, Reply.failure(failure)}

  # Python knows it no more. It has ended if this is the first reader to hear of that, or another was. Noted before the row
  # goes, for whoever comes next and finds none.
  defp closed_by_others?(%{seen: nil}), do: false

  defp closed_by_others?(%{handle: handle, stream: stream, seen: seen}) do
    case Streams.fetch(handle, stream.owner, stream.id) do
      {:ok, _stream} ->
        :atomics.put(seen, 1, 1)
        false

      :error ->
        :atomics.get(seen, 1) == 0
    end
  end

  defp closed do
    %Error{
      kind: :cancelled,
      message: "the stream was closed before its end: with its owner, or after a timeout",
      executed: :maybe
    }
  end

  # Not waited for: the reader has its error, at its deadline as a rule.
  defp failed(cursor, error) do
    Streams.close(cursor.handle, cursor.stream)
    {[], {:failed, error}}
  end

  @doc """
  Closes the stream. When this returns, what the generator has to do at its end is done; `:later`: it will be,
  its worker is busy with something else.
  """
  @spec close(t()) :: :ok | :later | {:error, Error.t()}
  def close(cursor) do
    StreamSpan.closed(cursor.span)
    if cursor.pull, do: Pull.abandon(cursor.pull)
    if cursor.seen, do: :atomics.put(cursor.seen, 1, 1)
    ref = :erlang.alias([:reply])

    case Streams.close(cursor.handle, cursor.stream, ref) do
      {:ok, id} ->
        await_closed(cursor.handle, id, ref, @patience_ms)

      # There is nothing left to close.
      {:error, _gone} ->
        :erlang.unalias(ref)
        :ok
    end
  end

  defp await_closed(handle, id, ref, patience) do
    receive do
      {^ref, :later} -> :later
      {^ref, reply} -> with {:ok, _nil} <- Reply.read(reply, :elixir), do: :ok
    after
      patience ->
        if Stuck.reconsider(handle, id) == :gone do
          :erlang.unalias(ref)
          :ok
        else
          await_closed(handle, id, ref, min(2 * patience, @longest_patience_ms))
        end
    end
  end
end
