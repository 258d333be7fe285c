defmodule ErlangPython.ZMTP.Command do
  @moduledoc false
  # ZMTP 3.1 (rfc.zeromq.org/spec/37), "Commands", "The NULL Security Mechanism" and
  # "Connection Heartbeating". A body is a name with its length, then data.

  alias ErlangPython.ZMTP.{Frame, ProtocolError}

  @type properties :: %{binary() => binary()}

  @type t ::
          {:ready, properties()}
          | {:error, reason :: binary()}
          | {:ping, ttl_tenths :: 0..65_535, context :: binary()}
          | {:pong, context :: binary()}
          | {:unknown, name :: binary()}

  @max_context 16

  @doc "A command with its frame, ready for the socket."
  @spec encode({:ready, properties()} | {:error, binary()} | {:pong, binary()}) :: iodata()
  def encode({:ready, properties}) do
    metadata =
      for {name, value} <- properties,
          do: [byte_size(name), name, <<byte_size(value)::32>>, value]

    Frame.encode(:command, [5, "READY" | metadata])
  end

  def encode({:error, reason}) when byte_size(reason) <= 255,
    do: Frame.encode(:command, [5, "ERROR", byte_size(reason), reason])

  def encode({:pong, context}), do: Frame.encode(:command, [4, "PONG", context])

  @doc """
  A command frame's body. Names of properties come back in lower case, since their case "SHALL
  NOT be significant"; of a name that comes twice the last value counts, as in libzmq.
  """
  @spec decode(binary()) :: {:ok, t()} | {:error, ProtocolError.t()}
  def decode(<<5, "READY", metadata::binary>>) do
    case properties(metadata, %{}) do
      {:ok, properties} -> {:ok, {:ready, properties}}
      :error -> malformed("READY")
    end
  end

  def decode(<<5, "ERROR", size, reason::binary-size(size)>>), do: {:ok, {:error, reason}}
  def decode(<<5, "ERROR", _::binary>>), do: malformed("ERROR")

  def decode(<<4, "PING", ttl::16, context::binary>>) when byte_size(context) <= @max_context,
    do: {:ok, {:ping, ttl, context}}

  def decode(<<4, "PING", _::binary>>), do: malformed("PING")

  def decode(<<4, "PONG", context::binary>>) when byte_size(context) <= @max_context,
    do: {:ok, {:pong, context}}

  def decode(<<4, "PONG", _::binary>>), do: malformed("PONG")

  def decode(<<size, name::binary-size(size), _::binary>>) when size > 0,
    do: {:ok, {:unknown, name}}

  def decode(_body), do: malformed("no name")

  defp properties(<<>>, acc), do: {:ok, acc}

  # "The value SHALL be 0 to 2,147,483,647 octets".
  defp properties(
         <<size, name::binary-size(size), 0::1, length::31, value::binary-size(length),
           rest::binary>>,
         acc
       )
       when size > 0 do
    if name_chars?(name),
      do: properties(rest, Map.put(acc, String.downcase(name, :ascii), value)),
      else: :error
  end

  defp properties(_metadata, _acc), do: :error

  # name-char = ALPHA | DIGIT | "-" | "_" | "." | "+"
  defp name_chars?(<<char, rest::binary>>)
       when char in ?a..?z or char in ?A..?Z or char in ?0..?9 or char in [?-, ?_, ?., ?+],
       do: name_chars?(rest)

  defp name_chars?(rest), do: rest == <<>>

  defp malformed(command), do: {:error, %ProtocolError{reason: {:malformed, command}}}
end
