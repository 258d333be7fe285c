defmodule ErlangPython.Protocol do
  @moduledoc false
  # The message types of docs/protocol.md, which is the authority.

  import Bitwise

  @version 1
  @buffers_follow 0x80
  @nested 0x40

  @types [
    call: 0x01,
    eval: 0x02,
    exec: 0x03,
    run: 0x04,
    setup: 0x05,
    stream_call: 0x06,
    stream_eval: 0x07,
    pull: 0x08,
    close: 0x09,
    answer: 0x0A,
    answer_error: 0x0B,
    drop_context: 0x0C,
    release: 0x0D,
    traced: 0x0E,
    spans: 0x10,
    hello: 0x11,
    ready: 0x12,
    failed: 0x13,
    result: 0x14,
    error: 0x15,
    cancelled: 0x16,
    detached: 0x17,
    callback: 0x18,
    cast: 0x19,
    send: 0x1A,
    service: 0x1B,
    opened: 0x1C,
    output: 0x1D,
    log: 0x1E,
    kept: 0x1F,
    timed: 0x20,
    cancel: 0x21,
    ping: 0x22,
    shutdown: 0x23,
    flush: 0x24,
    stacks: 0x25,
    move: 0x26,
    cancel_ack: 0x31,
    pong: 0x32,
    flushed: 0x33,
    stacked: 0x34
  ]

  @type type :: unquote(@types |> Keyword.keys() |> Enum.reduce(&{:|, [], [&1, &2]}))

  @spec version() :: pos_integer()
  def version, do: @version

  @doc "All message types with their numbers."
  @spec types() :: keyword(byte())
  def types, do: @types

  @doc "The number of a message type, for use at compile time and in guards."
  defmacro type(name) when is_atom(name), do: Keyword.fetch!(@types, name)

  @doc "The head of a message, without its body."
  @spec head(byte(), non_neg_integer()) :: binary()
  def head(type, id), do: <<type, id::64>>

  @doc "The head of a request, inside a `TRACED` if it brings a trace."
  @spec request_head(byte(), non_neg_integer(), nested? :: boolean(), trace :: binary() | nil) ::
          binary()
  def request_head(type, id, false, nil), do: head(type, id)
  def request_head(type, id, true, nil), do: head(nested(type), id)

  def request_head(type, id, nested?, trace) do
    traced = if nested?, do: nested(@types[:traced]), else: @types[:traced]
    <<traced, id::64, trace::binary, type>>
  end

  @doc "Sets the bit that says out-of-band frames follow."
  @spec mark_buffers(iodata(), [binary()]) :: iodata()
  def mark_buffers(head, []), do: head

  def mark_buffers([<<type, rest::binary>> | more], _buffers),
    do: [<<type ||| @buffers_follow>>, rest | more]

  def mark_buffers(<<type, rest::binary>>, _buffers), do: [<<type ||| @buffers_follow>>, rest]

  @doc "Sets the bit that says a request is for the thread that waits in a callback."
  @spec nested(byte()) :: byte()
  def nested(type), do: type ||| @nested

  @doc "Splits a head frame into its type without the buffer bit, id and body."
  @spec split_head(binary()) :: {byte(), non_neg_integer(), binary()} | :error
  def split_head(<<_buffers::1, type::7, id::64, body::binary>>), do: {type, id, body}
  def split_head(_frame), do: :error
end
