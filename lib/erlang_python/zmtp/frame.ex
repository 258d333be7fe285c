defmodule ErlangPython.ZMTP.Frame do
  @moduledoc false
  # ZMTP 3.1 (rfc.zeromq.org/spec/37), "Framing": flags, size, body.
  # Flags: bits 7..3 reserved and zero, bit 2 COMMAND, bit 1 LONG, bit 0 MORE; MORE is zero
  # on commands. The size has one octet, or eight under LONG.

  alias ErlangPython.ZMTP.ProtocolError

  @type kind :: :more | :last | :command

  # A command is never large: READY's metadata is the largest there is.
  @max_command_size 65_536

  @doc """
  A whole message, ready for the socket. Runs in the caller's process: a small frame becomes
  one flat binary, so that the message to the writer is small and its send is cheap; a body
  of more than 255 bytes stays where it is.
  """
  @spec encode_message(nonempty_list(iodata())) :: iodata()
  def encode_message([frame]), do: encode(:last, frame)
  def encode_message([frame | frames]), do: [encode(:more, frame) | encode_message(frames)]

  @doc "One frame."
  @spec encode(kind(), iodata()) :: iodata()
  def encode(kind, body) do
    case IO.iodata_length(body) do
      size when size <= 255 -> IO.iodata_to_binary([short(kind), size | body])
      size -> [<<long(kind), size::64>> | body]
    end
  end

  defp short(:last), do: 0x00
  defp short(:more), do: 0x01
  defp short(:command), do: 0x04

  defp long(:last), do: 0x02
  defp long(:more), do: 0x03
  defp long(:command), do: 0x06

  @doc """
  Takes the first frame off `bytes`. `max_size` bounds a message frame's body and is
  compared with the header: the size is the peer's word, the memory is ours.

  `{:more, total}` says how many bytes, counted from the first one of `bytes`, are needed
  before another attempt can tell more.
  """
  @spec decode(binary(), non_neg_integer()) ::
          {:ok, kind(), body :: binary(), rest :: binary()}
          | {:more, pos_integer()}
          | {:error, ProtocolError.t()}
  def decode(<<0x00, size, body::binary-size(size), rest::binary>>, max_size)
      when size <= max_size,
      do: {:ok, :last, body, rest}

  def decode(<<0x01, size, body::binary-size(size), rest::binary>>, max_size)
      when size <= max_size,
      do: {:ok, :more, body, rest}

  def decode(<<0x04, size, body::binary-size(size), rest::binary>>, _max_size),
    do: {:ok, :command, body, rest}

  def decode(<<0x02, size::64, body::binary-size(size), rest::binary>>, max_size)
      when size <= max_size,
      do: {:ok, :last, body, rest}

  def decode(<<0x03, size::64, body::binary-size(size), rest::binary>>, max_size)
      when size <= max_size,
      do: {:ok, :more, body, rest}

  def decode(<<0x06, size::64, body::binary-size(size), rest::binary>>, _max_size)
      when size <= @max_command_size,
      do: {:ok, :command, body, rest}

  def decode(<<0x02, size::64, _tail::binary>>, max_size), do: no_long(:last, size, max_size)
  def decode(<<0x03, size::64, _tail::binary>>, max_size), do: no_long(:more, size, max_size)

  def decode(<<0x06, size::64, _tail::binary>>, _max_size),
    do: no_long(:command, size, @max_command_size)

  def decode(<<flags, size, _tail::binary>>, max_size) when flags in [0x00, 0x01],
    do: if(size > max_size, do: too_large(:last, size, max_size), else: {:more, 2 + size})

  def decode(<<0x04, size, _tail::binary>>, _max_size), do: {:more, 2 + size}
  def decode(<<flags, _::binary>>, _max) when flags in [0x02, 0x03, 0x06], do: {:more, 9}
  def decode(<<flags>>, _max_size) when flags in [0x00, 0x01, 0x04], do: {:more, 2}
  def decode(<<>>, _max_size), do: {:more, 2}

  def decode(<<flags, _::binary>>, _max_size),
    do: {:error, %ProtocolError{reason: {:flags, flags}}}

  defp no_long(kind, size, max_size) when size > max_size, do: too_large(kind, size, max_size)
  defp no_long(_kind, size, _max_size), do: {:more, 9 + size}

  defp too_large(:command, size, limit),
    do: {:error, %ProtocolError{reason: {:command_size, size, limit}}}

  defp too_large(_message, size, limit),
    do: {:error, %ProtocolError{reason: {:message_size, size, limit}}}
end
