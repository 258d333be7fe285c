defmodule ErlangPython.MessagePack do
  @moduledoc false
  # MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md) with the extension
  # types, marked arrays and out-of-band buffers of docs/protocol.md, "Values".
  # docs/types.md tells users what becomes of which term.

  alias ErlangPython.MessagePack.{DecodeError, Decoder, EncodeError, Encoder}

  @typedoc """
  Whose rules hold: the Elixir API's, or those of `:py`, where `none`, `nil` and `undefined`
  all stand for `None`, other atoms are plain text and `{:bytes, binary}` forces `bytes`, or those of
  `ErlangPython.ErlPort`, where `undefined` stands for `None`, improper lists have a form and a struct is a map.
  """
  @type face :: :elixir | :erlang | :erlport

  @doc """
  Encodes a term into a body and the binaries that travel beside it, in the order in which
  the body refers to them.
  """
  @spec encode(term(), face()) :: {:ok, iodata(), [binary()]} | {:error, EncodeError.t()}
  def encode(term, face \\ :elixir) when face in [:elixir, :erlang, :erlport] do
    with {:ok, body, [_ | _] = beside} <- Encoder.encode(term, face),
         do: {:ok, body, Enum.filter(beside, &is_binary/1)}
  end

  @doc "As `encode/2`, with the Refs that the term holds among the binaries: they say where the body must go."
  @spec encode_request(term(), face()) ::
          {:ok, iodata(), [Encoder.beside()]} | {:error, EncodeError.t()}
  def encode_request(term, face), do: Encoder.encode(term, face)

  @doc """
  Decodes a body. Any bytes at all give a term or an error, never more memory than a small
  multiple of their size, and no new atoms but the few that `ErlangPython.ErlangFace.Reason` allows itself
  for exceptions.
  """
  @spec decode(binary(), [binary()], face()) :: {:ok, term()} | {:error, DecodeError.t()}
  def decode(body, buffers \\ [], face \\ :elixir)
      when is_binary(body) and is_list(buffers) and face in [:elixir, :erlang, :erlport],
      do: Decoder.decode(body, buffers, face)
end
