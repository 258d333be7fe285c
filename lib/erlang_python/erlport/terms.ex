defmodule ErlangPython.ErlPort.Terms do
  @moduledoc false
  # Terms and errors in ErlPort's shapes (pure): docs/protocol.md, "ErlPort values".

  alias ErlangPython.{Bytes, Error, MessagePack}
  alias ErlangPython.ErlangFace.Reason

  @doc "A term as arguments of a request: its body, and the buffers beside that."
  @spec pack!(term()) :: [Bytes.t()]
  def pack!(term) do
    case MessagePack.encode(term, :erlport) do
      {:ok, body, buffers} ->
        for data <- [IO.iodata_to_binary(body) | buffers], do: %Bytes{data: data}

      {:error, error} ->
        raise %Error{kind: :encode, message: Exception.message(error), executed: :no}
    end
  end

  @spec unpack!(binary()) :: term()
  def unpack!(body) do
    case MessagePack.decode(body, [], :erlport) do
      {:ok, term} -> term
      {:error, error} -> raise ErlangPython.Request.Reply.undecodable(error)
    end
  end

  @doc "Raises what the caller of ErlPort's `call` expects."
  @spec fail(Error.t()) :: no_return()
  def fail(%Error{kind: kind} = error) when kind in [:python, :elixir],
    do: :erlang.error(failure(error))

  def fail(%Error{kind: :timeout}), do: :erlang.error(:timeout)
  def fail(%Error{} = error), do: raise(error)

  @doc "`{python, Class, Argument, Stacktrace}`; other errors as they are."
  @spec failure(Error.t()) ::
          {:python, atom() | String.t(), charlist(), [tuple()]} | Error.t()
  def failure(%Error{kind: kind} = error) when kind in [:python, :elixir] do
    frames = for frame <- Enum.reverse(error.traceback), do: frame(frame)
    {:python, error.type |> class() |> Reason.atom(), String.to_charlist(error.message), frames}
  end

  def failure(error), do: error

  defp frame(frame), do: {frame.file, frame.line, frame.function, frame.code || :undefined}

  # As ErlPort names them.
  defp class(type), do: if(String.contains?(type, "."), do: type, else: "builtins." <> type)
end
