defmodule ErlangPython.Request.Reply do
  @moduledoc false
  # What a request's end says (pure): a worker's frames, or an error of the pool, as `{:ok, term}` or
  # `{:error, error}`.

  alias ErlangPython.{Error, MessagePack, Protocol}
  alias ErlangPython.Pool.{Contexts, Refs}

  require Protocol

  @doc """
  `:opened` says that the request has left a stream open, beside its value; `:kept` that its value stays in the worker.
  """
  @spec read([binary()] | Error.t(), :elixir | :erlang) ::
          {:ok | :opened | :kept, term()} | {:error, Error.t()}
  def read(%Error{} = error, _face), do: {:error, error}

  def read([<<_buffers::1, type::7, _id::64, body::binary>> | buffers], face),
    do: read(type, body, buffers, face)

  defp read(type, body, buffers, face) do
    case type do
      Protocol.type(:result) -> result(MessagePack.decode(body, buffers, face))
      Protocol.type(:opened) -> left(:opened, MessagePack.decode(body, buffers, face))
      Protocol.type(:kept) -> left(:kept, MessagePack.decode(body))
      Protocol.type(:error) -> {:error, error(MessagePack.decode(body))}
      Protocol.type(:cancelled) -> {:error, cancelled()}
      Protocol.type(:timed) -> timed(body, buffers, face)
    end
  end

  defp timed(<<_times::binary-16, type, body::binary>>, buffers, face)
       when type != Protocol.type(:timed),
       do: read(type, body, buffers, face)

  @spec undecodable(Exception.t()) :: Error.t()
  def undecodable(error) do
    %Error{
      kind: :decode,
      message: "the result could not be decoded: " <> Exception.message(error),
      executed: :yes
    }
  end

  @doc "The error in the body of an `ERROR`."
  @spec failure(binary()) :: Error.t()
  def failure(body), do: error(MessagePack.decode(body))

  @doc "The exception in a body that holds nothing else (`FAILED`)."
  @spec exception(binary()) :: {:ok, Error.t()} | {:error, Exception.t()}
  def exception(body) do
    case MessagePack.decode(body) do
      {:ok, %Error{} = error} -> {:ok, error}
      {:ok, _other} -> {:error, protocol("FAILED without an exception")}
      {:error, error} -> {:error, error}
    end
  end

  defp left(what, {:ok, term}), do: {what, term}
  defp left(_what, error), do: result(error)

  defp result({:ok, _term} = ok), do: ok

  defp result({:error, error}), do: {:error, undecodable(error)}

  defp error({:ok, ["python", %Error{} = error]}), do: error

  # What a callback failed with has gone through Python's code, and comes back as it was.
  defp error({:ok, ["elixir", [%Error{} = error, kind, term, stacktrace]]})
       when kind in ["error", "throw", "exit"] do
    details = %{kind: String.to_existing_atom(kind), reason: term, stacktrace: stacktrace}
    %{error | kind: :elixir, details: Map.merge(error.details, details)}
  end

  defp error({:ok, ["encode", [message, path]]}) do
    %Error{
      kind: :encode,
      message: "#{path}: #{message}",
      executed: :yes,
      details: %{path: path}
    }
  end

  defp error({:ok, ["decode", [message]]}) do
    %Error{
      kind: :decode,
      message: "Python could not decode the request: " <> message,
      executed: :no
    }
  end

  defp error({:ok, ["too_large", [size, limit]]}) do
    %Error{
      kind: :too_large,
      message:
        "the result has #{size} bytes, the pool's :max_message_size is #{limit}: " <>
          "raise it, or let Python read and write a file, or send parts",
      executed: :yes,
      details: %{size: size, limit: limit}
    }
  end

  # It was under way when the context was closed.
  defp error({:ok, ["context", []]}), do: Contexts.closed()
  defp error({:ok, ["released", []]}), do: Refs.released()
  defp error({:ok, ["protocol", [message]]}), do: protocol(message)
  defp error(_undecodable), do: protocol("an ERROR that can't be decoded")

  defp protocol(message) do
    %Error{
      kind: :protocol,
      message: "the wire protocol was broken: " <> message,
      executed: :maybe
    }
  end

  defp cancelled,
    do: %Error{kind: :cancelled, message: "the request was stopped", executed: :maybe}
end
