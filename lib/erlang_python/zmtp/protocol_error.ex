defmodule ErlangPython.ZMTP.ProtocolError do
  @moduledoc false
  # What a peer did that ZMTP 3.1 (rfc.zeromq.org/spec/37) or our limits forbid.

  @type reason ::
          :no_signature
          | {:version, non_neg_integer()}
          | {:mechanism, binary()}
          | {:flags, byte()}
          | {:message_size, size :: non_neg_integer(), limit :: pos_integer()}
          | {:command_size, size :: non_neg_integer(), limit :: pos_integer()}
          | {:frames, limit :: pos_integer()}
          | {:malformed, command :: String.t()}
          | {:not_ready, :message | :command}
          | {:socket_type, binary() | nil}
          | :identity_size
          | :identity_reserved
          | {:error_command, binary()}

  @type t :: %__MODULE__{reason: reason()}

  defexception [:reason]

  @impl true
  def message(%__MODULE__{reason: reason}), do: text(reason)

  defp text(:no_signature),
    do: "the peer speaks ZMTP 1.0 or no ZMTP at all; 3.0 or newer is needed"

  defp text({:version, major}),
    do: "the peer speaks ZMTP 2.0 (revision #{major}); 3.0 or newer is needed"

  defp text({:mechanism, name}),
    do: "the peer asks for the security mechanism #{printable(name)}; only NULL is spoken here"

  defp text({:flags, flags}),
    do: "frame flags 0x#{Integer.to_string(flags, 16)} are not defined"

  defp text({:message_size, size, limit}),
    do: "a message of at least #{size} bytes is over the limit of #{limit} bytes"

  defp text({:command_size, size, limit}),
    do: "a command of #{size} bytes is over the limit of #{limit} bytes"

  defp text({:frames, limit}), do: "a message has more than #{limit} frames"
  defp text({:malformed, command}), do: "a malformed command: #{command}"
  defp text({:not_ready, :message}), do: "a message came before READY"
  defp text({:not_ready, :command}), do: "a command other than READY came first"
  defp text({:socket_type, nil}), do: "READY names no Socket-Type"

  defp text({:socket_type, type}),
    do: "a socket of type #{printable(type)} cannot talk to a ROUTER"

  defp text(:identity_size), do: "the Identity is longer than 255 bytes"
  defp text(:identity_reserved), do: "an Identity must not begin with a zero byte"

  defp text({:error_command, reason}),
    do: "the peer refused the connection: #{printable(reason)}"

  # A peer's bytes go to logs: never raw, never many.
  defp printable(bytes), do: inspect(bytes, printable_limit: 64, limit: 64)
end
