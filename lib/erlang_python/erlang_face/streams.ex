defmodule ErlangPython.ErlangFace.Streams do
  @moduledoc false
  # The streams of `:py`: read whole, pushed to a process as messages, or pulled by a handle.

  alias ErlangPython.ErlangFace.{Calls, Held, Reason}
  alias ErlangPython.Pool.{Handle, Streams}
  alias ErlangPython.Request.{Message, Options}
  alias ErlangPython.Stream.Cursor
  alias ErlangPython.Worker.Exit

  @default_timeout 30_000

  @typedoc "A stream that was left open by a call; the fields are not for others."
  @opaque handle ::
            {:py_stream, pool :: atom(), :ets.table(), Streams.t(), :atomics.atomics_ref()}

  @spec collect({:ok, Message.t(), Options.t()} | {:error, :invalid_args}) ::
          {:ok, [term()]} | {:error, Reason.t()}
  def collect({:ok, message, options}), do: message |> Cursor.open(options) |> collect([])
  def collect({:error, reason}), do: {:error, reason}

  defp collect({items, next}, before) do
    before = Enum.reverse(items, before)

    case next do
      :done -> {:ok, Enum.reverse(before)}
      {:failed, error} -> {:error, Reason.of(error)}
      cursor -> cursor |> Cursor.next() |> collect(before)
    end
  end

  # --- pushed

  @type event :: {:data, term()} | :done | {:error, Reason.t()}

  @doc """
  Reads the stream in a process of its own, which makes a message for `to` of each event. It ends with the
  stream, with `to`, or by `cancel/1`.
  """
  @spec push(reference(), pid(), Message.t(), Options.t(), (event() -> term())) :: :ok
  def push(ref, to, message, options, event_message) do
    Held.start({:stream, ref}, fn ->
      to_ref = Process.monitor(to)

      {reader, reader_ref} =
        spawn_monitor(fn -> read(message, options, &send(to, event_message.(&1))) end)

      receive do
        {:DOWN, ^reader_ref, :process, _pid, _reason} -> :ok
        {:DOWN, ^to_ref, :process, _pid, _reason} -> Process.exit(reader, :kill)
        {:cancel, from, tag} -> cancelled(reader, reader_ref, from, tag)
      end
    end)
  end

  # No message comes after the answer. The pool closes the stream of the reader that has died.
  defp cancelled(reader, reader_ref, from, tag) do
    Process.exit(reader, :kill)

    receive do
      {:DOWN, ^reader_ref, :process, _pid, _reason} -> send(from, {tag, :ok})
    end
  end

  defp read(message, options, tell), do: message |> Cursor.open(options) |> push(tell)

  defp push({items, next}, tell) do
    Enum.each(items, &tell.({:data, &1}))

    case next do
      :done -> tell.(:done)
      {:failed, error} -> tell.({:error, Reason.of(error)})
      cursor -> cursor |> Cursor.next() |> push(tell)
    end
  end

  @spec start(term(), term(), term(), term()) :: {:ok, reference()} | {:error, :invalid_args}
  def start(module, function, args, kwargs) do
    with {:ok, message, options} <- Calls.stream_message(module, function, args, kwargs) do
      ref = make_ref()
      :ok = push(ref, self(), message, options, &{:py_stream, ref, &1})
      {:ok, ref}
    end
  end

  @spec cancel(term()) :: :ok | {:error, :invalid_args}
  def cancel(ref) when is_reference(ref) do
    case Held.find({:stream, ref}) do
      {:ok, holder} -> cancel_in(holder)
      # It has ended.
      :error -> :ok
    end
  end

  def cancel(_ref), do: {:error, :invalid_args}

  defp cancel_in(holder) do
    tag = :erlang.monitor(:process, holder, alias: :reply_demonitor)
    send(holder, {:cancel, tag, tag})

    receive do
      {^tag, :ok} -> :ok
      {:DOWN, ^tag, :process, _pid, _reason} -> :ok
    end
  end

  # --- pulled

  @spec handle(Handle.t(), Streams.t()) :: handle()
  def handle(handle, stream),
    do: {:py_stream, handle.name, handle.streams, stream, :atomics.new(1, [])}

  @doc "Makes another process the owner of a stream that a result holds."
  @spec give(term(), pid()) :: term()
  def give({:ok, {:py_stream, pool, table, stream, seen}} = result, owner) do
    case Handle.fetch(pool) do
      {:ok, %{streams: ^table} = handle} ->
        {:ok, {:py_stream, pool, table, Streams.give(handle, stream, owner), seen}}

      _another_or_none ->
        result
    end
  end

  def give(result, _owner), do: result

  @spec next(term(), term()) :: {:ok, term()} | :done | {:error, Reason.t()}
  def next(stream, timeout \\ @default_timeout)

  def next({:py_stream, _pool, _table, _stream, _seen} = stream, timeout) do
    with {:ok, options} <- Calls.options(timeout),
         {:ok, cursor} <- cursor(stream, options) do
      # One at a time, so that there is nothing to keep from one call to the next.
      case Cursor.next(cursor) do
        {[item], _next} -> {:ok, item}
        {[], :done} -> :done
        {[], {:failed, error}} -> {:error, Reason.of(error)}
      end
    end
  end

  def next(_stream, _timeout), do: {:error, :invalid_args}

  @spec close(term()) :: :ok | {:error, Reason.t()}
  def close({:py_stream, _pool, _table, _stream, _seen} = stream) do
    with {:ok, options} <- Calls.options(@default_timeout),
         {:ok, cursor} <- cursor(stream, options) do
      case Cursor.close(cursor) do
        {:error, error} -> {:error, Reason.of(error)}
        _closed_or_will_be -> :ok
      end
    else
      # It has ended with its pool.
      {:error, {:worker_down, _why}} -> :ok
      invalid -> invalid
    end
  end

  def close(_stream), do: {:error, :invalid_args}

  # A pool that was started again under the same name is another one.
  defp cursor(
         {_py_stream, pool, table, %{id: _, owner: _, slot: _, generation: _} = stream, seen},
         options
       ) do
    case Handle.fetch(pool) do
      {:ok, %{streams: ^table} = handle} -> {:ok, Cursor.new(handle, stream, options, seen)}
      _another_or_none -> {:error, Reason.of(Exit.lost_stream())}
    end
  end

  defp cursor(_no_handle, _options), do: {:error, :invalid_args}
end
