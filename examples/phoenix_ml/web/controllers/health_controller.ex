defmodule PhoenixMlWeb.HealthController do
  use PhoenixMlWeb, :controller

  def show(conn, _params) do
    {state, body} = PhoenixMl.Model.health()
    conn |> put_status(if(state == :ok, do: 200, else: 503)) |> json(body)
  end
end
