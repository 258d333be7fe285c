defmodule ErlangPython.Pool.Pending.Row do
  @moduledoc false
  # An open request, as `ErlangPython.Pool.Pending` holds it: a record, which is a row of its table.
  #
  #     id          the key
  #     dest        who gets `{tag, frames}` or `{tag, %ErlangPython.Error{}}`: an alias or a pid; nil once nobody waits any more
  #     tag
  #     caller      the process whose death cancels the request; nil: nobody's does
  #     place       0 while it waits in the queue; the slot of the worker that has it; minus that slot where it does not count into
  #                 the worker's window: it is nested in a callback, runs in another thread or on the event loop, or is a pull
  #                 of a stream
  #     generation  of that slot, 0 in the queue
  #     sent_at     microseconds of monotonic time, 0 in the queue
  #     wire        what was sent, so that a request which never ran can be given to another worker; `:pinned` where only this worker
  #                 will do; `{held_by, wire}` if another of its threads may take it, `{held_by, :moved}` when one was asked to;
  #                 `:beside` where such a thread has it; `:detached` once the request runs on the worker's event loop
  #     deadline    only for those who ask for it

  require Record

  Record.defrecord(:row, [
    :id,
    :dest,
    :tag,
    :caller,
    :place,
    :generation,
    :sent_at,
    :wire,
    :deadline
  ])

  @type id :: pos_integer()

  @typedoc "0 in the queue, a slot, or minus a slot: there, but beside its main thread."
  @type place :: integer()

  @typedoc "In milliseconds of monotonic time; nil where none is known."
  @type deadline :: integer() | :infinity | nil

  @typedoc "What holds a request in its worker."
  @type held_by :: :context | :refs | :stream

  @type wire :: iodata() | :pinned | {held_by(), iodata() | :moved} | :beside | :detached

  @type t ::
          record(:row,
            id: id(),
            dest: reference() | pid() | nil,
            tag: term(),
            caller: pid() | nil,
            place: place(),
            generation: non_neg_integer(),
            sent_at: integer(),
            wire: wire(),
            deadline: deadline()
          )

  @doc "Of a request that was handed over."
  @spec new(map(), place(), non_neg_integer(), integer()) :: t()
  def new(request, place, generation, sent_at) do
    row(
      id: request.id,
      dest: request.dest,
      tag: request.tag,
      caller: request.caller,
      place: place,
      generation: generation,
      sent_at: sent_at,
      wire: request.wire,
      deadline: request.deadline
    )
  end

  @doc "Where ETS finds a field."
  defmacro position(field), do: quote(do: row(unquote(field)) + 1)
end
