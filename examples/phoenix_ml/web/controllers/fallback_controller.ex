defmodule PhoenixMlWeb.FallbackController do
  use Phoenix.Controller, formats: [:json]
  import Plug.Conn

  def call(conn, {:error, reason}) do
    {status, headers, body} = PhoenixMl.Failure.response(reason)
    conn |> merge_resp_headers(headers) |> put_status(status) |> json(body)
  end
end
