defmodule ErlangPython.Stream do
  @moduledoc false
  # A Python iterator as an Elixir stream. It is opened when the stream is run, anew each time.

  alias ErlangPython.{Error, Request}
  alias ErlangPython.Stream.Cursor

  require Logger

  @spec new(Request.Message.t(), Request.Options.t()) :: Enumerable.t()
  def new(message, options),
    do: Stream.resource(fn -> {:open, message, options} end, &next/1, &halt/1)

  defp next({:open, message, options}), do: Cursor.open(message, options)
  defp next(%Cursor{} = cursor), do: Cursor.next(cursor)
  defp next(:done), do: {:halt, :done}
  defp next({:failed, error}), do: raise(error)

  # The halting call has its result, or an exception of its own: what closing raises is not to replace it.
  defp halt(%Cursor{} = cursor) do
    with {:error, %Error{} = error} <- Cursor.close(cursor),
         do: Logger.error("closing a stream failed: " <> Exception.message(error))
  end

  defp halt(_never_opened_or_over), do: :ok
end
