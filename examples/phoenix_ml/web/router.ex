defmodule PhoenixMlWeb.Router do
  use PhoenixMlWeb, :router

  pipeline :api do
    plug(:accepts, ["json"])
  end

  scope "/", PhoenixMlWeb do
    pipe_through(:api)

    get("/health", HealthController, :show)
    post("/api/search", SearchController, :search)
  end

  # Plain text, whatever the client says that it accepts.
  scope "/", PhoenixMlWeb do
    post("/api/answer", SearchController, :answer)
  end
end
