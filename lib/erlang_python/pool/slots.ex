defmodule ErlangPython.Pool.Slots do
  @moduledoc false
  # The counters of a pool and the claim of a worker, without any process in between.
  #
  # Each worker has a slot. `in_flight` counts the requests given to its main thread and not yet ended,
  # `window` how many it may have (0: none, it is starting, draining or gone; below 0: none, as long as its main thread is
  # held by one request, whose id is `held_by`), `beside` those that do not count
  # into the window: they run without occupying the main thread, or are pinned to the worker, `callbacks` the callbacks that its threads wait for, `generation`
  # which incarnation of the slot is meant. One rule keeps `in_flight` right: who takes a request out of the
  # pending table (or moves it back to the queue) releases its slot, once.

  import Bitwise, only: [bsl: 2, bsr: 2, band: 2]

  alias ErlangPython.Pool.{Handle, Options}

  # What each call writes lies apart from what each call only reads, so that callers on several cores don't take
  # the latter's cache line from each other. A line has 64 bytes, and may begin anywhere in the counters.
  @line 16
  # Beside these stands the number of counters, which each access reads.
  @closed 1
  @slot_count 2
  @size 3
  @observed 4
  @handlers 5
  @looked_for_handlers 6
  @last_id 1 + @line
  @queued 1 + 2 * @line
  @admitted 1 + 3 * @line
  @casts 2 + 3 * @line
  @dropped_casts 3 + 3 * @line
  @globals 4 * @line
  @per_slot 2 * @line
  # By claims and readers.
  @in_flight 1
  @served 2
  @last_end 3
  # Seldom.
  @window 1 + @line
  @generation 2 + @line
  @beside 3 + @line
  @callbacks 4 + @line
  @streams 5 + @line
  @contexts 6 + @line
  @held_by 7 + @line
  @most 8 + @line
  @set_aside 9 + @line

  @type slot :: pos_integer()

  defguardp is_slot(slot) when is_integer(slot) and slot > 0

  # A pool that is started again begins its ids elsewhere: a context or a stream that has outlived the pool before it
  # must not be taken for one of its own. Each start has 2^32 ids of 2^58, all of which the BEAM counts without bignums.
  @first_id_bits 32
  @starts_mask 0x3FFFFFF

  @spec new() :: :atomics.atomics_ref()
  def new do
    counters = :atomics.new(@globals + @per_slot * Options.max_workers(), signed: true)
    start = System.unique_integer([:monotonic, :positive])
    :atomics.put(counters, @last_id, first_id(start, {node(), :erlang.system_info(:creation)}))
    counters
  end

  @doc """
  Where a pool begins its ids (pure): elsewhere than others of this node, and most likely than those of other nodes, whose
  contexts come here in messages.
  """
  @spec first_id(pos_integer(), {node(), creation :: non_neg_integer()}) :: non_neg_integer()
  def first_id(start, node),
    do: bsl(band(start + :erlang.phash2(node, @starts_mask + 1), @starts_mask), @first_id_bits)

  @spec next_id(Handle.t()) :: pos_integer()
  def next_id(%{counters: counters}), do: :atomics.add_get(counters, @last_id, 1)

  @doc "Is it an id of this pool, and not of an earlier one of its name?"
  @spec issued?(Handle.t(), pos_integer()) :: boolean()
  def issued?(%{counters: counters}, id),
    do: bsr(id, @first_id_bits) == bsr(:atomics.get(counters, @last_id), @first_id_bits)

  # --- the pool as a whole

  @spec close(Handle.t()) :: :ok
  def close(%{counters: counters}), do: :atomics.put(counters, @closed, 1)

  @spec closed?(Handle.t()) :: boolean()
  def closed?(%{counters: counters}), do: :atomics.get(counters, @closed) == 1

  @spec put_count(Handle.t(), non_neg_integer()) :: :ok
  def put_count(%{counters: counters}, count), do: :atomics.put(counters, @slot_count, count)

  @spec count(Handle.t()) :: non_neg_integer()
  def count(%{counters: counters}), do: :atomics.get(counters, @slot_count)

  @doc "How many workers the pool is meant to have, without extra ones."
  @spec size(Handle.t()) :: non_neg_integer()
  def size(%{counters: counters}), do: :atomics.get(counters, @size)

  @spec put_size(Handle.t(), pos_integer()) :: :ok
  def put_size(%{counters: counters}, size), do: :atomics.put(counters, @size, size)

  @spec queued(Handle.t()) :: integer()
  def queued(%{counters: counters}), do: :atomics.get(counters, @queued)

  @spec add_queued(Handle.t(), integer()) :: integer()
  def add_queued(%{counters: counters}, n), do: :atomics.add_get(counters, @queued, n)

  @spec admitted(Handle.t()) :: integer()
  def admitted(%{counters: counters}), do: :atomics.get(counters, @admitted)

  @spec add_admitted(Handle.t(), integer()) :: integer()
  def add_admitted(%{counters: counters}, n), do: :atomics.add_get(counters, @admitted, n)

  @doc "Counts the casts from Python that run."
  @spec add_casts(Handle.t(), integer()) :: integer()
  def add_casts(%{counters: counters}, n), do: :atomics.add_get(counters, @casts, n)

  @doc "Counts those that were dropped since it was last told."
  @spec add_dropped_casts(Handle.t(), integer()) :: integer()
  def add_dropped_casts(%{counters: counters}, n),
    do: :atomics.add_get(counters, @dropped_casts, n)

  @spec take_dropped_casts(Handle.t()) :: integer()
  def take_dropped_casts(%{counters: counters}),
    do: :atomics.exchange(counters, @dropped_casts, 0)

  @doc "Who looks at the pool (`ErlangPython.Telemetry.Events`); 0 is nobody."
  @spec observed(Handle.t()) :: non_neg_integer()
  def observed(%{counters: counters}), do: :atomics.get(counters, @observed)

  @spec put_observed(Handle.t(), non_neg_integer()) :: :ok
  def put_observed(%{counters: counters}, flags), do: :atomics.put(counters, @observed, flags)

  @doc "Were handlers of calls attached when somebody last looked?"
  @spec handlers?(Handle.t()) :: boolean()
  def handlers?(%{counters: counters}), do: :atomics.get(counters, @handlers) == 1

  @doc "When that was, in milliseconds of monotonic time."
  @spec looked_for_handlers(Handle.t()) :: integer()
  def looked_for_handlers(%{counters: counters}), do: :atomics.get(counters, @looked_for_handlers)

  @spec put_handlers(Handle.t(), boolean(), integer()) :: :ok
  def put_handlers(%{counters: counters}, any?, now) do
    :atomics.put(counters, @handlers, if(any?, do: 1, else: 0))
    :atomics.put(counters, @looked_for_handlers, now)
  end

  # --- one slot

  @spec in_flight(Handle.t(), slot()) :: integer()
  def in_flight(%{counters: counters}, slot), do: :atomics.get(counters, at(slot, @in_flight))

  @doc "Has it one request at most, in whatever thread?"
  @spec alone?(Handle.t(), slot()) :: boolean()
  def alone?(handle, slot), do: in_flight(handle, slot) + beside(handle, slot) <= 1

  @spec window(Handle.t(), slot()) :: integer()
  def window(%{counters: counters}, slot), do: :atomics.get(counters, at(slot, @window))

  @doc "Is no worker ready, not even for a context?"
  @spec all_starting?(Handle.t()) :: boolean()
  def all_starting?(handle) do
    Enum.all?(1..count(handle)//1, &(window(handle, &1) == 0 and contexts(handle, &1) == 0))
  end

  @spec put_window(Handle.t(), slot(), non_neg_integer()) :: :ok
  def put_window(%{counters: counters}, slot, n),
    do: :atomics.put(counters, at(slot, @window), n)

  @doc "Changes the window only if it is still `old`: a reader must not reopen a slot that was closed."
  @spec adapt_window(Handle.t(), slot(), old :: integer(), new :: integer()) :: boolean()
  def adapt_window(%{counters: counters}, slot, old, new),
    do: :atomics.compare_exchange(counters, at(slot, @window), old, new) == :ok

  @doc "Makes the window no wider than this, also that of a slot which is held."
  @spec limit_window(Handle.t(), slot(), non_neg_integer() | :infinity) :: term()
  def limit_window(_handle, _slot, :infinity), do: :ok

  def limit_window(handle, slot, most) do
    size = window(handle, slot)
    limited = size |> max(-most) |> min(most)

    unless size == limited or adapt_window(handle, slot, size, limited),
      do: limit_window(handle, slot, most)
  end

  @doc "Back to one request at a time, unless the slot is closed or held."
  @spec shrink_window(Handle.t(), slot()) :: term()
  def shrink_window(%{options: %{window: :auto}} = handle, slot) do
    case window(handle, slot) do
      size when size > 0 -> adapt_window(handle, slot, size, 1)
      _closed_or_held -> false
    end
  end

  def shrink_window(_fixed, _slot), do: false

  @doc """
  Nobody takes a place in this slot until the request that holds its worker's main thread leaves that: until `let_go/3`, or
  a new window.
  """
  @spec hold(Handle.t(), slot(), request :: pos_integer()) :: boolean()
  def hold(%{counters: counters} = handle, slot, id) do
    :atomics.put(counters, at(slot, @held_by), id)

    case window(handle, slot) do
      size when size > 0 -> adapt_window(handle, slot, size, -size)
      _closed_or_held -> false
    end
  end

  @doc "This request no longer holds the main thread. True if that has opened the slot."
  @spec let_go(Handle.t(), slot(), request :: pos_integer()) :: boolean()
  def let_go(%{counters: counters} = handle, slot, id) do
    with ^id <- :atomics.get(counters, at(slot, @held_by)),
         size when size < 0 <- window(handle, slot) do
      adapt_window(handle, slot, size, -size)
    else
      _not_held_by_it -> false
    end
  end

  @spec generation(Handle.t(), slot()) :: non_neg_integer()
  def generation(%{counters: counters}, slot),
    do: :atomics.get(counters, at(slot, @generation))

  @spec next_generation(Handle.t(), slot()) :: pos_integer()
  def next_generation(%{counters: counters}, slot),
    do: :atomics.add_get(counters, at(slot, @generation), 1)

  @spec release(Handle.t(), slot(), pos_integer()) :: integer()
  def release(%{counters: counters}, slot, n \\ 1),
    do: :atomics.sub_get(counters, at(slot, @in_flight), n)

  @doc "How many contexts have their namespace in a worker."
  @spec contexts(Handle.t(), slot()) :: integer()
  def contexts(%{counters: counters}, slot), do: :atomics.get(counters, at(slot, @contexts))

  @spec put_contexts(Handle.t(), slot(), non_neg_integer()) :: :ok
  def put_contexts(%{counters: counters}, slot, n),
    do: :atomics.put(counters, at(slot, @contexts), n)

  @doc "Does a worker serve its contexts only?"
  @spec set_aside?(Handle.t(), slot()) :: boolean()
  def set_aside?(%{counters: counters}, slot),
    do: :atomics.get(counters, at(slot, @set_aside)) == 1

  @spec set_aside(Handle.t(), slot(), boolean()) :: :ok
  def set_aside(%{counters: counters}, slot, aside?),
    do: :atomics.put(counters, at(slot, @set_aside), if(aside?, do: 1, else: 0))

  @doc "Counts open streams: only for a fair claim, where one more or less does no harm."
  @spec add_streams(Handle.t(), slot(), integer()) :: integer()
  def add_streams(%{counters: counters}, slot, n),
    do: :atomics.add_get(counters, at(slot, @streams), n)

  @spec reset_streams(Handle.t(), slot()) :: :ok
  def reset_streams(%{counters: counters}, slot),
    do: :atomics.put(counters, at(slot, @streams), 0)

  @doc "Counts ended requests of this incarnation."
  @spec add_served(Handle.t(), slot(), non_neg_integer()) :: :ok
  def add_served(%{counters: counters}, slot, n),
    do: :atomics.add(counters, at(slot, @served), n)

  @spec served(Handle.t(), slot()) :: non_neg_integer()
  def served(%{counters: counters}, slot), do: :atomics.get(counters, at(slot, @served))

  @doc "Has it served as many requests as one worker of this pool may?"
  @spec worn?(Handle.t(), slot()) :: boolean()
  def worn?(%{options: %{max_requests: :infinity}}, _slot), do: false
  def worn?(handle, slot), do: served(handle, slot) >= most(handle, slot)

  # How many requests this worker may serve.
  defp most(%{counters: counters}, slot), do: :atomics.get(counters, at(slot, @most))

  @doc """
  How many requests more the worker is to be given before it is replaced. Its window is no wider, so that none comes in
  beyond them. Contexts keep it.
  """
  @spec left(Handle.t(), slot()) :: non_neg_integer() | :infinity
  def left(%{options: %{max_requests: :infinity}}, _slot), do: :infinity

  def left(handle, slot) do
    if contexts(handle, slot) > 0,
      do: :infinity,
      else: max(most(handle, slot) - served(handle, slot), 0)
  end

  @doc "A new worker, this slot's first or a later one, has served nothing."
  @spec reset_served(Handle.t(), slot(), generation :: pos_integer()) :: :ok
  def reset_served(
        %{options: %{max_requests: max}, counters: counters} = handle,
        slot,
        generation
      ) do
    :atomics.put(counters, at(slot, @served), 0)

    if max != :infinity,
      do: :atomics.put(counters, at(slot, @most), share(max, slot, size(handle), generation))

    :ok
  end

  # A pool's first workers serve fewer, each another number: or all would have served enough, and start anew, together.
  defp share(max, slot, size, 1) when slot < size, do: div(max * slot + size - 1, size)
  defp share(max, _slot, _size, _generation), do: max

  @spec beside(Handle.t(), slot()) :: integer()
  def beside(%{counters: counters}, slot), do: :atomics.get(counters, at(slot, @beside))

  @spec add_beside(Handle.t(), slot(), integer()) :: :ok
  def add_beside(%{counters: counters}, slot, n),
    do: :atomics.add(counters, at(slot, @beside), n)

  @spec callbacks(Handle.t(), slot()) :: integer()
  def callbacks(%{counters: counters}, slot), do: :atomics.get(counters, at(slot, @callbacks))

  @doc "Does any worker wait for a callback?"
  @spec callbacks?(Handle.t()) :: boolean()
  def callbacks?(%{counters: counters}),
    do: callbacks?(counters, :atomics.get(counters, @slot_count))

  defp callbacks?(_counters, 0), do: false

  defp callbacks?(counters, slot),
    do: :atomics.get(counters, at(slot, @callbacks)) > 0 or callbacks?(counters, slot - 1)

  @spec add_callbacks(Handle.t(), slot(), integer()) :: :ok
  def add_callbacks(%{counters: counters}, slot, n),
    do: :atomics.add(counters, at(slot, @callbacks), n)

  @doc "When a worker's reader last had an answer, in microseconds of monotonic time."
  @spec put_last_end(Handle.t(), slot(), integer()) :: :ok
  def put_last_end(%{counters: counters}, slot, now),
    do: :atomics.put(counters, at(slot, @last_end), now)

  @spec last_end(Handle.t(), slot()) :: integer()
  def last_end(%{counters: counters}, slot), do: :atomics.get(counters, at(slot, @last_end))

  @doc """
  Takes a place in the least loaded slot that has one: an idle worker if there is any, else
  the one with the fewest requests inside its window; among equals the one with the fewest beside its
  main thread.
  """
  @spec claim(Handle.t()) :: {:ok, slot()} | :none
  def claim(%{counters: counters} = handle) do
    case least_loaded(counters, :atomics.get(counters, @slot_count), 0, :none) do
      0 ->
        :none

      slot when is_slot(slot) ->
        if claim_slot(handle, slot), do: {:ok, slot}, else: claim(handle)
    end
  end

  @doc "Has any worker room?"
  @spec free?(Handle.t()) :: boolean()
  def free?(%{counters: counters}),
    do: least_loaded(counters, :atomics.get(counters, @slot_count), 0, :none) > 0

  @doc "Takes a place in this slot, if it has one."
  @spec claim_slot(Handle.t(), slot()) :: boolean()
  def claim_slot(%{counters: counters} = handle, slot) do
    # Somebody else may have come first between the look and the claim.
    if :atomics.add_get(counters, at(slot, @in_flight), 1) <=
         :atomics.get(counters, at(slot, @window)) do
      true
    else
      release(handle, slot)
      false
    end
  end

  # Integers sort before atoms, so `:none` is more than any number.
  defp least_loaded(_counters, 0, best, _in_flight), do: best

  defp least_loaded(counters, slot, best, least) do
    in_flight = :atomics.get(counters, at(slot, @in_flight))

    if (in_flight < least or
          (in_flight == least and aside(counters, slot) < aside(counters, best))) and
         in_flight < :atomics.get(counters, at(slot, @window)) do
      least_loaded(counters, slot - 1, slot, in_flight)
    else
      least_loaded(counters, slot - 1, best, least)
    end
  end

  defp aside(counters, slot),
    do: :atomics.get(counters, at(slot, @beside)) + :atomics.get(counters, at(slot, @streams))

  @compile {:inline, at: 2}
  defp at(slot, field), do: @globals + (slot - 1) * @per_slot + field
end
