defmodule ErlangPython.ZMTP.Handshake do
  @moduledoc false
  # The binding side of a NULL handshake as a value: the peer's bytes go in, its facts come
  # out. ZMTP 3.1 (rfc.zeromq.org/spec/37), "The NULL Security Mechanism": the client sends
  # READY; the server validates it and answers READY, or ERROR and closes. ERROR is fatal
  # for the client (libzmq does not connect again), a plain close is a temporary failure.

  alias ErlangPython.ZMTP.{Command, Frame, Greeting, ProtocolError}

  @enforce_keys [:step]
  defstruct step: :greeting, buffer: <<>>

  @opaque t :: %__MODULE__{step: :greeting | :ready, buffer: binary()}

  @type peer :: %{identity: binary(), properties: Command.properties()}

  # "The Socket-Type Property": what may talk to a ROUTER.
  @socket_types ["REQ", "DEALER", "ROUTER"]

  @spec new() :: t()
  def new, do: %__MODULE__{step: :greeting}

  @doc "What is sent before anything is read."
  @spec greeting() :: iodata()
  def greeting, do: Greeting.encode()

  @doc "The answer to a peer that is welcome. A ROUTER sends no Identity."
  @spec accept() :: iodata()
  def accept, do: Command.encode({:ready, %{"Socket-Type" => "ROUTER"}})

  @doc "The answer to a peer that must not come again, after a whole greeting."
  @spec refuse(String.t()) :: iodata()
  def refuse(reason), do: Command.encode({:error, reason})

  @doc """
  `{:ok, peer, rest}` once READY is here and valid; `rest` is traffic that followed it.
  `answer` in an error is what to send before closing.
  """
  @spec feed(t(), binary()) ::
          {:more, t()}
          | {:ok, peer(), rest :: binary()}
          | {:error, ProtocolError.t(), answer :: iodata()}
  def feed(%__MODULE__{} = handshake, bytes), do: step(handshake.step, handshake.buffer <> bytes)

  defp step(:greeting, bytes) do
    case Greeting.decode(bytes) do
      {:ok, _version, rest} -> step(:ready, rest)
      :more -> {:more, %__MODULE__{step: :greeting, buffer: bytes}}
      # Such a peer does not know ERROR, or not in our mechanism: "MUST close the connection".
      {:error, error} -> {:error, error, []}
    end
  end

  defp step(:ready, bytes) do
    # No message is due yet, so its size can't matter: the first octet decides.
    case Frame.decode(bytes, 0) do
      {:ok, :command, body, rest} -> ready(Command.decode(body), rest)
      {:more, _total} when bytes == <<>> -> wait(bytes)
      {:more, _total} -> if command?(bytes), do: wait(bytes), else: message_too_early()
      {:ok, _message, _body, _rest} -> message_too_early()
      {:error, %{reason: {:message_size, _, _}}} -> message_too_early()
      {:error, error} -> refused(error, "Malformed")
    end
  end

  defp wait(bytes), do: {:more, %__MODULE__{step: :ready, buffer: bytes}}

  defp command?(<<flags, _::binary>>), do: flags in [0x04, 0x06]

  defp message_too_early, do: refused(error({:not_ready, :message}), "Malformed")

  defp ready({:ok, {:ready, properties}}, rest) do
    identity = Map.get(properties, "identity", <<>>)
    socket_type = Map.get(properties, "socket-type")

    cond do
      socket_type not in @socket_types ->
        refused(error({:socket_type, socket_type}), "Invalid-Socket-Type")

      byte_size(identity) > 255 ->
        refused(error(:identity_size), "Invalid-Identity")

      match?(<<0, _::binary>>, identity) ->
        refused(error(:identity_reserved), "Invalid-Identity")

      true ->
        {:ok, %{identity: identity, properties: properties}, rest}
    end
  end

  defp ready({:ok, {:error, reason}}, _rest), do: {:error, error({:error_command, reason}), []}
  defp ready({:ok, _other}, _rest), do: refused(error({:not_ready, :command}), "Malformed")
  defp ready({:error, error}, _rest), do: refused(error, "Malformed")

  defp refused(error, text), do: {:error, error, refuse(text)}

  defp error(reason), do: %ProtocolError{reason: reason}
end
