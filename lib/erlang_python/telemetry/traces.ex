defmodule ErlangPython.Telemetry.Traces do
  @moduledoc false
  # The spans that were recorded lately, of Elixir's side and of Python's; and the switch of tracing.
  #
  # Spans come from callers, callbacks and the readers of workers, none of whom may wait. So what is on its way
  # here is counted in bytes, and what comes when that is too much is dropped and counted.

  use GenServer

  alias ErlangPython.MessagePack
  alias ErlangPython.Pool.{Configured, Handle, Slots}
  alias ErlangPython.Telemetry.{Events, TraceContext}

  @kept 10_000
  @kept_bytes 64 * 1024 * 1024
  @under_way_bytes 16 * 1024 * 1024
  # What a span of Elixir's side takes, about.
  @own_bytes 500

  # In the counters: bytes under way, spans dropped since they were last told.
  @under_way 1
  @dropped 2

  @typedoc "A span that has ended; `ErlangPython.Telemetry` documents it."
  @type span :: %{
          name: String.t(),
          kind: :call | :stream | :callback | :python,
          trace_id: String.t(),
          span_id: String.t(),
          parent_id: String.t() | nil,
          start_time: integer(),
          end_time: integer(),
          duration_us: non_neg_integer(),
          status: :ok | :error | :unset,
          message: String.t() | nil,
          attributes: %{String.t() => term()},
          events: [%{name: String.t(), time: integer(), attributes: map()}],
          pool: atom(),
          worker: pos_integer() | nil
        }

  @typedoc "One of Elixir's side, in native units."
  @type own_span :: %{
          name: String.t(),
          kind: :call | :stream | :callback,
          context: TraceContext.t(),
          parent: TraceContext.t() | nil,
          system_time: integer(),
          duration: integer(),
          status: :ok | :error,
          message: String.t() | nil,
          attributes: map(),
          pool: atom(),
          worker: pos_integer() | nil
        }

  @spec start_link(term()) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Switches tracing in all pools, also in those that start later."
  @spec switch(boolean()) :: :ok
  def switch(on?), do: ask({:switch, on?})

  @doc "The spans that are kept, oldest first by their starts, and how many were dropped."
  @spec get() :: {[span()], dropped :: non_neg_integer()}
  def get, do: ask(:get)

  @spec clear() :: :ok
  def clear, do: ask(:clear)

  defp ask(request) do
    Configured.check_application!()
    GenServer.call(__MODULE__, request, :infinity)
  end

  @doc "Keeps a span of Elixir's side."
  @spec record(own_span()) :: :ok
  def record(record), do: offer({:record, record}, @own_bytes, 1)

  @doc "Takes the body of a `SPANS`."
  @spec receive_from(Handle.t(), Slots.slot(), binary()) :: :ok | :error
  def receive_from(handle, slot, <<dropped::32, count::32, spans::binary>>) do
    add(@dropped, dropped)
    telemetry? = Events.telemetry?(Slots.observed(handle))
    offer({:spans, handle.name, slot, telemetry?, spans}, byte_size(spans), count)
  end

  def receive_from(_handle, _slot, _other), do: :error

  defp offer(message, bytes, count) do
    if add(@under_way, bytes) <= @under_way_bytes do
      send(__MODULE__, {message, bytes})
    else
      add(@under_way, -bytes)
      add(@dropped, count)
    end

    :ok
  rescue
    # It starts again at this moment, and what it had is gone anyhow.
    ArgumentError -> :ok
  end

  defp add(at, n), do: :atomics.add_get(:persistent_term.get(__MODULE__), at, n)

  @impl true
  def init(nil) do
    :persistent_term.put(__MODULE__, :atomics.new(2, signed: true))
    table = :ets.new(__MODULE__, [:ordered_set, :private])
    {:ok, %{table: table, first: 1, next: 1, bytes: 0, dropped: 0}}
  end

  @impl true
  def handle_call({:switch, on?}, _from, state) do
    Events.put_tracing(on?)

    Enum.each(Handle.published(), &Events.observe/1)
    {:reply, :ok, state}
  end

  def handle_call(:get, _from, state) do
    state = count_dropped(state, nil)
    spans = for {_number, span, _bytes} <- :ets.tab2list(state.table), do: span
    {:reply, {Enum.sort_by(spans, & &1.start_time), state.dropped}, state}
  end

  def handle_call(:clear, _from, state) do
    :ets.delete_all_objects(state.table)
    state = count_dropped(state, nil)
    {:reply, :ok, %{state | first: state.next, bytes: 0, dropped: 0}}
  end

  @impl true
  def handle_info({{:record, record}, bytes}, state) do
    add(@under_way, -bytes)
    {:noreply, keep(state, own(record), bytes)}
  end

  def handle_info({{:spans, pool, slot, telemetry?, spans}, bytes}, state) do
    add(@under_way, -bytes)
    state = count_dropped(state, telemetry? && %{pool: pool, worker: slot})

    case MessagePack.decode(spans) do
      {:ok, spans} when is_list(spans) ->
        each = div(bytes, max(length(spans), 1))
        {:noreply, Enum.reduce(spans, state, &take(&1, &2, pool, slot, telemetry?, each))}

      _undecodable ->
        {:noreply, %{state | dropped: state.dropped + 1}}
    end
  end

  def handle_info(_other, state), do: {:noreply, state}

  defp take(packed, state, pool, slot, telemetry?, bytes) do
    case python(packed, pool, slot) do
      {:ok, span} ->
        if telemetry?, do: tell(span)
        keep(state, span, bytes)

      :error ->
        %{state | dropped: state.dropped + 1}
    end
  end

  defp tell(span) do
    {measurements, metadata} = Map.split(span, [:start_time, :end_time, :duration_us])

    Events.execute(
      [:span, :stop],
      %{
        duration: System.convert_time_unit(measurements.duration_us, :microsecond, :native),
        system_time: System.convert_time_unit(measurements.start_time, :microsecond, :native)
      },
      Map.delete(metadata, :kind)
    )
  end

  # The oldest make room.
  defp keep(state, span, bytes) do
    :ets.insert(state.table, {state.next, span, bytes})
    evict(%{state | next: state.next + 1, bytes: state.bytes + bytes})
  end

  defp evict(%{first: first, next: next, bytes: bytes} = state)
       when next - first > @kept or bytes > @kept_bytes do
    [{_number, _span, size}] = :ets.take(state.table, first)
    evict(%{state | first: first + 1, bytes: bytes - size, dropped: state.dropped + 1})
  end

  defp evict(state), do: state

  defp count_dropped(state, told) do
    case :atomics.exchange(:persistent_term.get(__MODULE__), @dropped, 0) do
      0 ->
        state

      count ->
        if told, do: Events.execute([:span, :dropped], %{count: count}, told)
        %{state | dropped: state.dropped + count}
    end
  end

  # --- spans

  defp own(record) do
    start = System.convert_time_unit(record.system_time, :native, :microsecond)
    duration = System.convert_time_unit(record.duration, :native, :microsecond)

    %{
      name: record.name,
      kind: record.kind,
      trace_id: TraceContext.trace_id(record.context),
      span_id: TraceContext.span_id(record.context),
      parent_id: record.parent && TraceContext.span_id(record.parent),
      start_time: start,
      end_time: start + duration,
      duration_us: duration,
      status: record.status,
      message: record.message,
      attributes: record.attributes,
      events: [],
      pool: record.pool,
      worker: record.worker
    }
  end

  # As docs/protocol.md has it; a worker may send what it likes.
  defp python(
         [
           name,
           <<trace::binary-16>>,
           <<id::binary-8>>,
           parent,
           start,
           took,
           status,
           message,
           attributes,
           events
         ],
         pool,
         slot
       )
       when is_binary(name) and is_integer(start) and is_integer(took) and is_map(attributes) and
              status in ["ok", "error", "unset"] and (message == nil or is_binary(message)) and
              is_list(events) do
    with {:ok, parent} <- parent(parent), {:ok, events} <- events(events, []) do
      {:ok,
       %{
         name: name,
         kind: :python,
         trace_id: TraceContext.hex_of(trace),
         span_id: TraceContext.hex_of(id),
         parent_id: parent,
         start_time: div(start, 1_000),
         end_time: div(start + took, 1_000),
         duration_us: div(took, 1_000),
         status: String.to_existing_atom(status),
         message: message,
         attributes: attributes,
         events: events,
         pool: pool,
         worker: slot
       }}
    end
  end

  defp python(_other, _pool, _slot), do: :error

  defp parent(nil), do: {:ok, nil}
  defp parent(<<id::binary-8>>), do: {:ok, TraceContext.hex_of(id)}
  defp parent(_other), do: :error

  defp events([[name, at, attributes] | rest], events)
       when is_binary(name) and is_integer(at) and is_map(attributes),
       do: events(rest, [%{name: name, time: div(at, 1_000), attributes: attributes} | events])

  defp events([], events), do: {:ok, Enum.reverse(events)}
  defp events(_other, _events), do: :error
end
