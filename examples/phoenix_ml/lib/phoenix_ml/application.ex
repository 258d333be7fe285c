defmodule PhoenixMl.Application do
  @moduledoc false
  # The pool comes first: nobody is let in before the model is loaded. `server` is the endpoint of Phoenix, or the front
  # that stands in for it.
  use Application

  @impl true
  def start(_type, _args) do
    server = Application.fetch_env!(:phoenix_ml, :server)

    Supervisor.start_link([{ErlangPython.Pool, PhoenixMl.Model.pool()}, server],
      strategy: :one_for_one,
      name: PhoenixMl.Supervisor
    )
  end
end
