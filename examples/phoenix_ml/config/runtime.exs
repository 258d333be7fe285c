import Config

# In tests any free port.
port = String.to_integer(System.get_env("PORT", if(config_env() == :test, do: "0", else: "4000")))

if System.get_env("WITHOUT_PHOENIX") in [nil, ""] do
  config :phoenix_ml, PhoenixMlWeb.Endpoint,
    http: [ip: {127, 0, 0, 1}, port: port],
    # No session and no cookie is signed here.
    secret_key_base: System.get_env("SECRET_KEY_BASE", String.duplicate("not a secret ", 6))
else
  config :phoenix_ml, PhoenixMl.Front, port: port
end

config :phoenix_ml,
  # Each worker holds the model, about 300 MB.
  workers: String.to_integer(System.get_env("ML_WORKERS", "2")),
  # Requests that run and wait; one more is told to come again (503).
  max_concurrent: 100,
  # Milliseconds for a search, and for each token of an answer (504).
  timeout: 10_000,
  ollama_url: System.get_env("OLLAMA_URL")
