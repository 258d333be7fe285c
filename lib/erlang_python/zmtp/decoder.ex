defmodule ErlangPython.ZMTP.Decoder do
  @moduledoc false
  # Traffic after the handshake as a value: bytes go in, whole messages and commands come
  # out. Limits count over all frames of a message and are compared with each header
  # before its body is kept.

  alias ErlangPython.ZMTP.{Command, Frame, ProtocolError}

  @enforce_keys [:max_message_size, :max_frames]
  defstruct max_message_size: 0,
            max_frames: 0,
            # Bytes of an incomplete frame, newest piece first: they are joined once, when
            # `need` bytes are here. Joining at each packet would be quadratic.
            pieces: [],
            have: 0,
            need: 0,
            # The frames so far of an incomplete message, newest first.
            frames: [],
            size: 0,
            count: 0

  @opaque t :: %__MODULE__{
            max_message_size: pos_integer(),
            max_frames: pos_integer(),
            pieces: [binary()],
            have: non_neg_integer(),
            need: non_neg_integer(),
            frames: [binary()],
            size: non_neg_integer(),
            count: non_neg_integer()
          }

  @type message :: nonempty_list(binary())

  @spec new(pos_integer(), pos_integer()) :: t()
  def new(max_message_size, max_frames),
    do: %__MODULE__{max_message_size: max_message_size, max_frames: max_frames}

  @doc """
  The messages and commands that `bytes` complete, each oldest first. After an error the
  messages before it are still good; the decoder must not be fed again.
  """
  @spec feed(t(), binary()) ::
          {:ok, [message()], [Command.t()], t()} | {:error, ProtocolError.t(), [message()]}
  def feed(%__MODULE__{pieces: []} = decoder, bytes), do: frames(decoder, bytes, [], [])

  def feed(%__MODULE__{} = decoder, bytes) do
    pieces = [bytes | decoder.pieces]
    have = decoder.have + byte_size(bytes)

    if have < decoder.need do
      {:ok, [], [], %{decoder | pieces: pieces, have: have}}
    else
      joined = pieces |> Enum.reverse() |> IO.iodata_to_binary()
      frames(%{decoder | pieces: [], have: 0, need: 0}, joined, [], [])
    end
  end

  @doc "How many bytes the frame that has begun still lacks; of a header, what is known."
  @spec missing(t()) :: non_neg_integer()
  def missing(%__MODULE__{need: need, have: have}), do: need - have

  defp frames(decoder, <<>>, messages, commands), do: done(decoder, messages, commands)

  defp frames(decoder, bytes, messages, commands) do
    case Frame.decode(bytes, decoder.max_message_size - decoder.size) do
      {:ok, :last, body, rest} when decoder.frames == [] ->
        frames(decoder, rest, [[body] | messages], commands)

      {:ok, :last, body, rest} ->
        message = Enum.reverse(decoder.frames, [body])
        frames(%{decoder | frames: [], size: 0, count: 0}, rest, [message | messages], commands)

      {:ok, :more, body, rest} ->
        more(decoder, body, rest, messages, commands)

      # libzmq's heartbeat timer puts PING between the frames of a message too.
      {:ok, :command, body, rest} ->
        command(decoder, Command.decode(body), rest, messages, commands)

      {:more, need} ->
        decoder = %{decoder | pieces: [bytes], have: byte_size(bytes), need: need}
        done(decoder, messages, commands)

      {:error, error} ->
        {:error, whole_size(error, decoder), Enum.reverse(messages)}
    end
  end

  # At least one more frame follows this one.
  defp more(%{count: count, max_frames: max} = _decoder, _body, _rest, messages, _commands)
       when count + 2 > max,
       do: {:error, %ProtocolError{reason: {:frames, max}}, Enum.reverse(messages)}

  defp more(decoder, body, rest, messages, commands) do
    decoder = %{
      decoder
      | frames: [body | decoder.frames],
        size: decoder.size + byte_size(body),
        count: decoder.count + 1
    }

    frames(decoder, rest, messages, commands)
  end

  defp command(decoder, {:ok, command}, rest, messages, commands),
    do: frames(decoder, rest, messages, [command | commands])

  defp command(_decoder, {:error, error}, _rest, messages, _commands),
    do: {:error, error, Enum.reverse(messages)}

  defp done(decoder, messages, commands),
    do: {:ok, Enum.reverse(messages), Enum.reverse(commands), decoder}

  # The frame was measured against what the earlier frames left of the limit.
  defp whole_size(%{reason: {:message_size, size, _left}}, decoder),
    do: %ProtocolError{
      reason: {:message_size, decoder.size + size, decoder.max_message_size}
    }

  defp whole_size(error, _decoder), do: error
end
