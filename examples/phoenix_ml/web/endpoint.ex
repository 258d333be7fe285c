defmodule PhoenixMlWeb.Endpoint do
  use Phoenix.Endpoint, otp_app: :phoenix_ml

  plug(Plug.RequestId)
  plug(Plug.Telemetry, event_prefix: [:phoenix, :endpoint])

  plug(Plug.Parsers,
    parsers: [:json],
    pass: ["application/json"],
    length: 1_000_000,
    json_decoder: Phoenix.json_library()
  )

  plug(PhoenixMlWeb.Router)
end
