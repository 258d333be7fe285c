defmodule PhoenixMlWeb.SearchController do
  use PhoenixMlWeb, :controller

  alias PhoenixMl.Model

  def search(conn, params) do
    with {:ok, matches} <- Model.search(params), do: json(conn, %{matches: matches})
  end

  # Where Python fails in the middle, the connection breaks off, which the client sees: the last chunk is missing.
  def answer(conn, params) do
    with {:ok, tokens} <- Model.answer(params) do
      conn = conn |> put_resp_content_type("text/plain") |> send_chunked(200)
      Enum.reduce_while(tokens, conn, &send_token/2)
    end
  end

  defp send_token(token, conn) do
    case chunk(conn, token) do
      {:ok, conn} -> {:cont, conn}
      # The reader has gone: the stream is halted, and the model stops.
      {:error, _reason} -> {:halt, conn}
    end
  end
end
