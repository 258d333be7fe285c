defmodule ErlangPython.ZMTP.Greeting do
  @moduledoc false
  # ZMTP 3.1 (rfc.zeromq.org/spec/37), "Formal Grammar" and "Version Negotiation":
  # signature (10 octets), version (2), mechanism (20), as-server (1), filler (31).

  alias ErlangPython.ZMTP.ProtocolError

  @size 64
  @mechanism "NULL" <> <<0::16*8>>

  @doc """
  Ours. A server that does not downgrade sends it whole at once; libzmq holds back all
  but its signature until it has seen our version.
  """
  @spec encode() :: binary()
  def encode, do: <<0xFF, 0::64, 0x7F, 3, 1, @mechanism::binary, 0, 0::31*8>>

  @doc """
  The peer's. An older peer sends less than 64 octets and then waits, so each octet is
  judged as soon as it is here ("Detecting ZMTP 1.0 and 2.0 Peers"). The padding, the minor
  version, as-server and the filler have no meaning under NULL; higher versions are valid.
  """
  @spec decode(binary()) ::
          {:ok, {major :: 3..255, minor :: byte()}, rest :: binary()}
          | :more
          | {:error, ProtocolError.t()}
  def decode(<<0xFF, _::64, 0x7F, major, minor, @mechanism, _::binary-size(32), rest::binary>>)
      when major >= 3,
      do: {:ok, {major, minor}, rest}

  def decode(<<0xFF, _::64, 0x7F, major, _::binary>>) when major < 3,
    do: error({:version, major})

  def decode(<<0xFF, _::64, 0x7F, _major, _minor, mechanism::binary-size(20), _::binary>>)
      when mechanism != @mechanism,
      do: error({:mechanism, unpad(mechanism)})

  def decode(<<0xFF, _::64, signature_end, _::binary>>) when signature_end != 0x7F,
    do: error(:no_signature)

  def decode(<<first, _::binary>>) when first != 0xFF, do: error(:no_signature)
  def decode(bytes) when byte_size(bytes) < @size, do: :more

  defp unpad(mechanism), do: mechanism |> :binary.split(<<0>>) |> hd()

  defp error(reason), do: {:error, %ProtocolError{reason: reason}}
end
