import Config

if System.get_env("WITHOUT_PHOENIX") in [nil, ""] do
  config :phoenix_ml, server: PhoenixMlWeb.Endpoint

  config :phoenix_ml, PhoenixMlWeb.Endpoint,
    adapter: Bandit.PhoenixAdapter,
    render_errors: [formats: [json: PhoenixMlWeb.ErrorJSON], layout: false],
    server: true

  config :phoenix, :json_library, Jason
else
  config :phoenix_ml, server: PhoenixMl.Front
end
